"""Who gets a node's resources next, and who must give theirs back for it.

Used by `leases` (requests of submitters), `actors` (starts) and `node` (bundles): each waits here
as a claim.  Fair between claimants: the one that holds least comes first.  A state machine without
I/O: time is handed in, grants and revocations go out through callbacks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from rayhpc.raylet.resources import Allocation, Pool, shortage
from rayhpc.wire.messages.common import Resources

# A lease younger than this is not taken back: else two claimants would only exchange workers.
REVOKE_AFTER_S = 0.02
# What has been asked for may run long: after this time somebody else is asked as well.
REVOKE_PATIENCE_S = 0.1
# A claim that has waited so long keeps what it lacks from those that came later.
STARVING_AFTER_S = 0.5

_order = itertools.count(1)


@dataclass(eq=False)
class Claim:
    """Something that waits for resources.

    `claimant` is whom it counts for; `pools` are the pools it may be served from, best first;
    `granted` is called with what it gets, `expired` at `until` if it got nothing.
    """

    claimant: Hashable
    demand: Resources
    pools: Callable[[], list[Pool]]
    granted: Callable[[Allocation], None]
    arrived: float
    until: float | None = None
    expired: Callable[[], None] | None = None
    order: int = field(default_factory=lambda: next(_order))


@dataclass(eq=False)
class Holding:
    """Something that uses resources and can be asked to give them back."""

    claimant: Hashable
    allocation: Allocation
    since: float
    revoke: Callable[[], None]
    revoked_at: float | None = None

    @property
    def revoking(self) -> bool:
        """Whether it has been asked to give back."""
        return self.revoked_at is not None


class Claims:
    """The claims that wait on one node, and the holdings that could serve them.

    Args:
        now: the time in seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: dict[Claim, None] = {}
        self._holdings: dict[Holding, None] = {}
        self._held: dict[Hashable, int] = {}
        # How many of those that wait are the head's orders (actors, bundles): they may expire.
        self.orders = 0
        self.is_dirty = False

    def __contains__(self, claim: object) -> bool:
        """Whether a claim still waits."""
        return claim in self._waiting

    def add(self, claim: Claim) -> None:
        """A claim waits from now on, until `dispatch` grants it."""
        self._waiting[claim] = None
        self.orders += claim.until is not None
        self.is_dirty = True

    def cancel(self, claim: Claim) -> bool:
        """A claim waits no longer; False if it did not wait."""
        if claim not in self._waiting:
            return False
        self._remove(claim)
        self.is_dirty = True
        return True

    # -- counting ---------------------------------------------------------------------------------
    def count(self, claimant: Hashable, change: int) -> None:
        """A claimant holds one more (or less)."""
        left = self._held.get(claimant, 0) + change
        if left:
            self._held[claimant] = left
        else:
            self._held.pop(claimant, None)

    def hold(self, holding: Holding) -> None:
        """Something can be revoked from now on (counting it is the caller's)."""
        self._holdings[holding] = None

    def let_go(self, holding: Holding) -> None:
        """It has been given back."""
        self._holdings.pop(holding, None)
        self.is_dirty = True

    def revocable(self, pool: Pool) -> Resources:
        """What leases hold of a pool, less what the head's orders that wait will take of it."""
        left: Resources = {}
        for holding in self._holdings:
            if holding.allocation.pool is pool and not holding.allocation.lent:
                for name, amount in holding.allocation.resources.items():
                    left[name] = left.get(name, 0) + amount
        for claim in self._waiting:
            if claim.until is not None and pool in claim.pools():
                for name, amount in claim.demand.items():
                    left[name] = left.get(name, 0) - amount
        return {name: amount for name, amount in left.items() if amount > 0}

    # -- deciding ---------------------------------------------------------------------------------
    def dispatch(self) -> None:
        """Grant what can be granted, then revoke what others wait for."""
        self.is_dirty = False
        if not self._waiting:
            return
        now = self._now()
        self._expire(now)
        reserved: set[str] = set()
        for claim in sorted(self._waiting, key=self._rank):
            if claim not in self._waiting or reserved.intersection(claim.demand):
                continue
            if not self._try(claim) and now - claim.arrived >= STARVING_AFTER_S:
                reserved.update(_lacking(claim))
        if self._waiting:
            self._revoke_for_others(now)

    def deadline(self) -> float | None:
        """When `dispatch` wants to be called without an event; None: never."""
        if not self._waiting:
            return None
        now = self._now()
        times = [x.until for x in self._waiting if x.until is not None]
        for holding in self._holdings:
            if holding.revoked_at is not None:
                times.append(holding.revoked_at + REVOKE_PATIENCE_S)
            elif not holding.allocation.lent:
                times.append(holding.since + REVOKE_AFTER_S)
        times += [x.arrived + STARVING_AFTER_S for x in self._waiting]
        return min((x for x in times if x > now), default=None)

    def _remove(self, claim: Claim) -> None:
        del self._waiting[claim]
        self.orders -= claim.until is not None

    def _rank(self, claim: Claim) -> tuple[int, int]:
        return self._held.get(claim.claimant, 0), claim.order

    def _try(self, claim: Claim) -> bool:
        for pool in claim.pools():
            allocation = pool.take(claim.demand)
            if allocation is not None:
                self._remove(claim)
                claim.granted(allocation)
                return True
        return False

    def _expire(self, now: float) -> None:
        for claim in [x for x in self._waiting if x.until is not None and x.until <= now]:
            self._remove(claim)
            if claim.expired is not None:
                claim.expired()

    def _revoke_for_others(self, now: float) -> None:
        """For each claim, in turn, call back just what it lacks."""
        coming = _Coming(self._holdings, now)
        for claim in sorted(self._waiting, key=self._rank):
            pools = claim.pools()
            pool = next((x for x in pools if x.could_ever(claim.demand)), None)
            if pool is None or coming.serves(pool, claim.demand):
                continue
            for holding in self._victims(claim, pool, coming, now):
                holding.revoked_at = now
                coming.revoke(holding)
                holding.revoke()
            coming.serves(pool, claim.demand)

    def _victims(self, claim: Claim, pool: Pool, coming: _Coming, now: float) -> list[Holding]:
        """Holdings that together give the claim what it lacks; none if they cannot."""
        lack = shortage(coming.expected(pool), claim.demand)
        mine = self._held.get(claim.claimant, 0)
        usable = [
            x
            for x in self._holdings
            if x.allocation.pool is pool
            and not x.revoking
            and not x.allocation.lent
            and x.claimant != claim.claimant
            and now - x.since >= REVOKE_AFTER_S
        ]
        usable.sort(key=lambda x: (-self._held.get(x.claimant, 0), x.since))
        victims: list[Holding] = []
        taken: Counter[Hashable] = Counter()
        for holding in usable:
            if not lack:
                break
            losing = coming.losing.get(holding.claimant, 0)
            has = self._held.get(holding.claimant, 0) - losing - taken[holding.claimant]
            gives = holding.allocation.resources
            if (mine and has <= mine + 1) or not any(gives.get(name) for name in lack):
                continue
            taken[holding.claimant] += 1
            victims.append(holding)
            lack = shortage(gives, lack)
        return [] if lack else victims


class _Coming:
    """What each pool will have once everything revoked has come back."""

    def __init__(self, holdings: dict[Holding, None], now: float) -> None:
        self._extra: dict[Pool, Resources] = {}
        self.losing: Counter[Hashable] = Counter()
        for holding in holdings:
            if holding.revoked_at is not None and now - holding.revoked_at < REVOKE_PATIENCE_S:
                self.revoke(holding)

    def revoke(self, holding: Holding) -> None:
        self.losing[holding.claimant] += 1
        self.add(holding.allocation.pool, holding.allocation.resources)

    def add(self, pool: Pool, amounts: Resources, sign: int = 1) -> None:
        extra = self._extra.setdefault(pool, {})
        for name, amount in amounts.items():
            extra[name] = extra.get(name, 0) + sign * amount

    def expected(self, pool: Pool) -> Resources:
        """Free amounts, with what comes back, less what earlier claims were promised."""
        extra = self._extra.get(pool, {})
        return {name: free + extra.get(name, 0) for name, free in pool.free.items()}

    def serves(self, pool: Pool, demand: Resources) -> bool:
        """Whether the demand is covered; if so it is promised from now on."""
        if shortage(self.expected(pool), demand):
            return False
        self.add(pool, demand, -1)
        return True


def _lacking(claim: Claim) -> set[str]:
    """The resources a claim waits for."""
    names: set[str] = set()
    for pool in claim.pools():
        names.update(shortage(pool.free, claim.demand) or claim.demand)
    return names
