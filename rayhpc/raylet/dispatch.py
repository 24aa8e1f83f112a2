"""Who gets a node's resources next, and who must give some back for it.

Used by `leases` (submitters' requests), `actors` (starts) and `groups` (bundles): each waits here
as a `ResourceRequest`.  Fair between requesters: the one that holds least comes first.  A state
machine without I/O: time is passed in, grants and revocations go out through callbacks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from rayhpc.raylet.resources import Allocation, Pool, shortage
from rayhpc.wire.messages.common import Resources

# A younger lease is not revoked: otherwise two requesters would only swap workers.
REVOKE_AFTER_S = 0.02
# A revoked task may run long: after this time another holder is asked as well.
REVOKE_PATIENCE_S = 0.1
# A request that has waited this long reserves what it lacks against later ones.
STARVING_AFTER_S = 0.5

_order = itertools.count(1)


@dataclass(eq=False)
class ResourceRequest:
    """A request that waits for resources.

    `requester` is whom it counts for; `pools` are the pools it may be served from, best first;
    `granted` is called with its allocation, `expired` at `until` if it got nothing.
    """

    requester: Hashable
    demand: Resources
    pools: Callable[[], list[Pool]]
    granted: Callable[[Allocation], None]
    arrived: float
    until: float | None = None
    expired: Callable[[], None] | None = None
    order: int = field(default_factory=lambda: next(_order))


@dataclass(eq=False)
class Revocable:
    """A holder of resources that can be asked to give them back."""

    requester: Hashable
    allocation: Allocation
    since: float
    revoke: Callable[[], None]
    revoked_at: float | None = None

    @property
    def revoking(self) -> bool:
        """Whether it has been asked to give them back."""
        return self.revoked_at is not None

    def take_back(self, now: float) -> None:
        """Ask the holder to give them back, once."""
        if not self.revoking:
            self.revoked_at = now
            self.revoke()


class Dispatch:
    """The requests waiting on one node, and the revocable allocations that could serve them.

    Args:
        now: the time in seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: dict[ResourceRequest, None] = {}
        self._revocables: dict[Revocable, None] = {}
        self._counts: dict[Hashable, int] = {}
        # How many of the waiting requests are the head's orders (actors, bundles): they may expire.
        self.orders = 0
        self.is_dirty = False

    def __contains__(self, request: object) -> bool:
        """Whether a request is still waiting."""
        return request in self._waiting

    def add(self, request: ResourceRequest) -> None:
        """Add a request, which waits until `run` grants it."""
        self._waiting[request] = None
        self.orders += request.until is not None
        self.is_dirty = True

    def cancel(self, request: ResourceRequest) -> bool:
        """Remove a request; False if it was not waiting."""
        if request not in self._waiting:
            return False
        self._remove(request)
        self.is_dirty = True
        return True

    # -- counting ---------------------------------------------------------------------------------
    def count(self, requester: Hashable, change: int) -> None:
        """A requester holds one more (or less)."""
        left = self._counts.get(requester, 0) + change
        if left:
            self._counts[requester] = left
        else:
            self._counts.pop(requester, None)

    def add_revocable(self, revocable: Revocable) -> None:
        """Something can be revoked from now on (the caller counts it)."""
        self._revocables[revocable] = None

    def remove_revocable(self, revocable: Revocable) -> None:
        """It has been given back."""
        self._revocables.pop(revocable, None)
        self.is_dirty = True

    @property
    def revocables(self) -> int:
        """The number of allocations that could be revoked."""
        return len(self._revocables)

    def revocable_in(self, pool: Pool) -> Resources:
        """What leases hold of a pool, less what the head's waiting orders will take of it."""
        left: Resources = {}
        for revocable in self._revocables:
            if revocable.allocation.pool is pool and not revocable.allocation.lent:
                for name, amount in revocable.allocation.resources.items():
                    left[name] = left.get(name, 0) + amount
        for request in self._waiting:
            if request.until is not None and pool in request.pools():
                for name, amount in request.demand.items():
                    left[name] = left.get(name, 0) - amount
        return {name: amount for name, amount in left.items() if amount > 0}

    # -- decisions --------------------------------------------------------------------------------
    def run(self) -> None:
        """Grant what can be granted, then revoke what others wait for."""
        self.is_dirty = False
        if not self._waiting:
            return
        now = self._now()
        self._expire(now)
        reserved: set[str] = set()
        for request in sorted(self._waiting, key=self._rank):
            if request not in self._waiting or reserved.intersection(request.demand):
                continue
            if not self._try(request) and now - request.arrived >= STARVING_AFTER_S:
                reserved.update(_lacking(request))
        if self._waiting:
            self._revoke_for_others(now)

    def deadline(self) -> float | None:
        """When `run` must be called without an event; None: never."""
        if not self._waiting:
            return None
        now = self._now()
        times = [x.until for x in self._waiting if x.until is not None]
        for revocable in self._revocables:
            if revocable.revoked_at is not None:
                times.append(revocable.revoked_at + REVOKE_PATIENCE_S)
            elif not revocable.allocation.lent:
                times.append(revocable.since + REVOKE_AFTER_S)
        times += [x.arrived + STARVING_AFTER_S for x in self._waiting]
        return min((x for x in times if x > now), default=None)

    def _remove(self, request: ResourceRequest) -> None:
        del self._waiting[request]
        self.orders -= request.until is not None

    def _rank(self, request: ResourceRequest) -> tuple[int, int]:
        return self._counts.get(request.requester, 0), request.order

    def _try(self, request: ResourceRequest) -> bool:
        for pool in request.pools():
            allocation = pool.take(request.demand)
            if allocation is not None:
                self._remove(request)
                request.granted(allocation)
                return True
        return False

    def _expire(self, now: float) -> None:
        for request in [x for x in self._waiting if x.until is not None and x.until <= now]:
            self._remove(request)
            if request.expired is not None:
                request.expired()

    def _revoke_for_others(self, now: float) -> None:
        """For each request, in turn, revoke exactly what it lacks."""
        coming = _Coming(self._revocables, now)
        for request in sorted(self._waiting, key=self._rank):
            pools = request.pools()
            pool = next((x for x in pools if x.could_ever(request.demand)), None)
            if pool is None or coming.serves(pool, request.demand):
                continue
            for revocable in self._victims(request, pool, coming, now):
                coming.revoke(revocable)
                revocable.take_back(now)
            coming.serves(pool, request.demand)

    def _victims(
        self, request: ResourceRequest, pool: Pool, coming: _Coming, now: float
    ) -> list[Revocable]:
        """Allocations that together cover what the request lacks; none if they cannot."""
        lack = shortage(coming.expected(pool), request.demand)
        mine = self._counts.get(request.requester, 0)
        usable = [
            x
            for x in self._revocables
            if x.allocation.pool is pool
            and not x.revoking
            and not x.allocation.lent
            and x.requester != request.requester
            and now - x.since >= REVOKE_AFTER_S
        ]
        usable.sort(key=lambda x: (-self._counts.get(x.requester, 0), x.since))
        victims: list[Revocable] = []
        taken: Counter[Hashable] = Counter()
        for revocable in usable:
            if not lack:
                break
            losing = coming.losing.get(revocable.requester, 0)
            has = self._counts.get(revocable.requester, 0) - losing - taken[revocable.requester]
            gives = revocable.allocation.resources
            if (mine and has <= mine + 1) or not any(gives.get(name) for name in lack):
                continue
            taken[revocable.requester] += 1
            victims.append(revocable)
            lack = shortage(gives, lack)
        return [] if lack else victims


class _Coming:
    """What each pool will have once everything revoked has been returned."""

    def __init__(self, revocables: dict[Revocable, None], now: float) -> None:
        self._extra: dict[Pool, Resources] = {}
        self.losing: Counter[Hashable] = Counter()
        for revocable in revocables:
            if revocable.revoked_at is not None and now - revocable.revoked_at < REVOKE_PATIENCE_S:
                self.revoke(revocable)

    def revoke(self, revocable: Revocable) -> None:
        self.losing[revocable.requester] += 1
        self.add(revocable.allocation.pool, revocable.allocation.resources)

    def add(self, pool: Pool, amounts: Resources, sign: int = 1) -> None:
        extra = self._extra.setdefault(pool, {})
        for name, amount in amounts.items():
            extra[name] = extra.get(name, 0) + sign * amount

    def expected(self, pool: Pool) -> Resources:
        """The free amounts plus what will be returned, less what earlier requests were promised."""
        extra = self._extra.get(pool, {})
        return {name: free + extra.get(name, 0) for name, free in pool.free.items()}

    def serves(self, pool: Pool, demand: Resources) -> bool:
        """Whether the demand is covered; if so it is promised from now on."""
        if shortage(self.expected(pool), demand):
            return False
        self.add(pool, demand, -1)
        return True


def _lacking(request: ResourceRequest) -> set[str]:
    """The resources that a request waits for."""
    names: set[str] = set()
    for pool in request.pools():
        names.update(shortage(pool.free, request.demand) or request.demand)
    return names
