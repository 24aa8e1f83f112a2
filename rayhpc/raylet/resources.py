"""A node's resources: what is free, what is taken, and which GPUs belong to it.

Used by `leases`, `actors` and `bundles`.  Amounts are integers in units of 1/10000 (`UNIT`), so
sums of fractions are exact.  A placement group's bundle is a separate pool, cut out of the node's.
Does not decide who gets something.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rayhpc.wire.messages.common import UNIT, Resources

CPU = "CPU"
GPU = "GPU"

Shares = dict[str, int]


@dataclass(eq=False)
class Allocation:
    """What someone holds of a pool; `shares` says how much of which GPU.

    `lent` is the CPU amount lent out while its holder waits for others.  `loan` is all that it held
    before it was lent while an argument is still to be made; empty: nothing was.
    """

    pool: Pool
    resources: Resources
    shares: Shares = field(default_factory=dict)
    lent: int = 0
    loan: Resources = field(default_factory=dict)

    def devices(self) -> dict[str, list[str]]:
        """The GPU ids its holder may see."""
        return {GPU: list(self.shares)} if self.shares else {}


class Pool:
    """Resources that can be taken and given back.

    Args:
        total: the total amounts.
        gpus: how much of each GPU belongs to it; ids are opaque.
    """

    def __init__(self, total: Resources, gpus: Shares | None = None) -> None:
        self.total = dict(total)
        self.free = dict(total)
        self.gpus = dict(gpus or {})
        # Counts changes, so that views are sent only when there is something new.
        self.version = 0
        self.is_closed = False

    def could_ever(self, demand: Resources) -> bool:
        """Whether the demand fits when all is free."""
        return not shortage(self.total, demand)

    def fits(self, demand: Resources) -> bool:
        """Whether the demand can be met now."""
        if self.is_closed or shortage(self.free, demand):
            return False
        return self._pick_gpus(demand.get(GPU, 0)) is not None

    def take(self, demand: Resources) -> Allocation | None:
        """Take what the demand needs; None if it does not fit now."""
        if not self.fits(demand):
            return None
        shares = self._pick_gpus(demand.get(GPU, 0)) or {}
        for gpu, amount in shares.items():
            self.gpus[gpu] -= amount
        self._add(demand, -1)
        return Allocation(self, dict(demand), shares)

    def give_back(self, allocation: Allocation) -> None:
        """Undo `take`."""
        self.unlend(allocation)
        for gpu, amount in allocation.shares.items():
            self.gpus[gpu] += amount
        self._add(allocation.resources, +1)
        allocation.resources, allocation.shares = {}, {}

    def shrink(self, allocation: Allocation, resources: Resources) -> None:
        """Give back everything except `resources` (GPUs stay unless none is kept)."""
        self.unlend(allocation)
        if not resources.get(GPU):
            for gpu, amount in allocation.shares.items():
                self.gpus[gpu] += amount
            allocation.shares = {}
        self._add(allocation.resources, +1)
        self._add(resources, -1)
        allocation.resources = dict(resources)

    def lend(self, allocation: Allocation) -> None:
        """The holder waits for others: its CPUs are free until `unlend`."""
        cpus = allocation.resources.get(CPU, 0)
        if cpus and not allocation.lent:
            allocation.lent = cpus
            self._add({CPU: cpus}, +1)

    def unlend(self, allocation: Allocation) -> None:
        """The holder continues, whether or not its CPUs are free: less than nothing may be free."""
        if allocation.lent:
            self._add({CPU: allocation.lent}, -1)
            allocation.lent = 0

    def _add(self, amounts: Resources, sign: int) -> None:
        free = self.free
        for name, amount in amounts.items():
            free[name] = free.get(name, 0) + sign * amount
        self.version += 1

    def _pick_gpus(self, amount: int) -> Shares | None:
        """GPUs for a demand: whole ones, or a share of the fullest one that still has room."""
        if not amount or not self.gpus:
            return {}
        if amount < UNIT:
            usable = [(free, gpu) for gpu, free in self.gpus.items() if free >= amount]
            if not usable:
                return None
            least = min(free for free, _ in usable)
            return {next(gpu for free, gpu in usable if free == least): amount}
        whole, rest = divmod(amount, UNIT)
        untouched = [gpu for gpu, free in self.gpus.items() if free >= UNIT]
        if len(untouched) < whole + (rest > 0):
            return None
        shares = dict.fromkeys(untouched[:whole], UNIT)
        if rest:
            shares[untouched[whole]] = rest
        return shares


def times_more(allocation: Allocation) -> int:
    """How many more times the same amount could be taken from the same pool."""
    free = allocation.pool.free
    fits = (free.get(name, 0) // need for name, need in allocation.resources.items() if need)
    return max(0, min(fits, default=0))


def shortage(available: Resources, demand: Resources) -> Resources:
    """What `available` lacks to meet `demand`; empty: nothing."""
    return {
        name: amount - available.get(name, 0)
        for name, amount in demand.items()
        if amount > 0 and amount > available.get(name, 0)
    }


def wastes_gpus(total: Resources, demand: Resources) -> bool:
    """Whether a demand without GPUs would keep others from using GPUs there."""
    return bool(total.get(GPU)) and not demand.get(GPU)
