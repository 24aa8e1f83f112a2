"""How many machines of which type what waits needs, beyond the room there is or will be.

Used by `plan`.  Room is a list of bins, best first: nodes, then machines that are coming.  What
waits is put into them, gangs first and then the largest demands; what is left opens bins of new
machines.  Equal demands are counted, never looped over, so the cost is that of kinds times bins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rayhpc.elastic.types import Demand, Gang, NodeType
from rayhpc.wire.feasibility import in_words, labels_match, subtract, sum_of
from rayhpc.wire.messages.common import UNIT, Labels, Resources

# What a node has of these is found out by the node itself; a type need not say.
_FOUND_OUT = ("memory", "object_store_memory")
_MANY = 1 << 30


@dataclass
class Bin:
    """Room on one node, or on one machine that is not there yet.

    `machine` is its name (empty: nobody's, or a new one), `is_new` says that it must be asked for,
    `lasts` how many seconds it has left.
    """

    free: Resources
    labels: Mapping[str, str]
    node_id: str = ""
    machine: str = ""
    node_type: str = ""
    used: bool = False
    is_new: bool = False
    total: Resources = field(default_factory=dict)
    lasts: float = math.inf

    def holds(
        self, wanted: Resources, conditions: Sequence[Labels] = (), seconds: float | None = None
    ) -> int:
        """How many times that fits now, of what runs for so long."""
        if seconds is not None and seconds > self.lasts:
            return 0
        if conditions and not labels_match(self, conditions):
            return 0
        return _times(self.free, wanted)

    def take(self, wanted: Resources, count: int = 1) -> None:
        """Use room."""
        self.used = True
        subtract(self.free, {name: amount * count for name, amount in wanted.items()})


class Packing:
    """Puts what waits into bins.

    Args:
        bins: the room there is, best first.
        types: node types, of which new bins may be opened.
        resources: what a node of each type has.
        lasts: how many seconds a new node of each type takes work for.
        room: how many new ones of each type there may be.
        room_for_all: how many new ones of all types together; None: as the types say.

    Attributes:
        new: how many of each type are needed.
        together: how many of them must be asked for at once, for a gang.
        why: what the first of each type is needed for, in words.
        left: demands, and how many of each, that no new machine may be asked for.
        left_gangs: gangs, likewise.
    """

    def __init__(
        self,
        bins: list[Bin],
        types: Iterable[NodeType],
        resources: Mapping[str, Resources],
        lasts: Mapping[str, float],
        room: Mapping[str, int],
        room_for_all: int | None = None,
    ) -> None:
        self.bins = bins
        self._types = list(types)
        self._resources = resources
        self._lasts = lasts
        self._room = dict(room)
        self._room_for_all = sum(room.values()) if room_for_all is None else room_for_all
        self.new: Counter[str] = Counter()
        self.together: Counter[str] = Counter()
        self.why: dict[str, str] = {}
        self.left: list[tuple[Demand, int]] = []
        self.left_gangs: list[Gang] = []

    def put_all(self, gangs: Iterable[Gang], demands: Iterable[Demand]) -> None:
        """Gangs, then demands, the largest first."""
        for gang in gangs:
            self.put_gang(gang)
        for demand in sorted(demands, key=lambda each: -_size(each.resources)):
            self.put(demand)

    def put(self, demand: Demand) -> None:
        """Equal tasks: into what there is, then into new machines."""
        left = demand.count
        for place in self.bins:
            if not left:
                return
            count = min(left, place.holds(demand.resources, demand.conditions, demand.seconds))
            if count:
                place.take(demand.resources, count)
                left -= count
        while left:
            why = f"{words_for(demand, left)} {'find' if left > 1 else 'finds'} no room"
            opened = self._open(demand.resources, demand.conditions, why, demand.seconds)
            if opened is None:
                self.left.append((demand, left))
                return
            count = min(left, max(1, opened.holds(demand.resources, demand.conditions)))
            opened.take(demand.resources, count)
            left -= count

    def put_gang(self, gang: Gang) -> None:
        """All bundles, or none."""
        before = [(place, dict(place.free), place.used) for place in self.bins]
        room, new, of_all = dict(self._room), Counter(self.new), self._room_for_all
        if self._put_bundles(gang):
            self.together += self.new - new
            return
        self.bins = [place for place, _, _ in before]
        for place, free, used in before:
            place.free, place.used = free, used
        self._room, self.new, self._room_for_all = room, new, of_all
        self.left_gangs.append(gang)

    def _put_bundles(self, gang: Gang) -> bool:
        bundles = [
            (bundle, gang.conditions[i] if i < len(gang.conditions) else ())
            for i, bundle in enumerate(gang.bundles)
        ]
        if gang.strategy == "STRICT_PACK":
            bundles = [(sum_of(gang.bundles), tuple(x for each in gang.conditions for x in each))]
        why = f"{gang_in_words(gang)} finds no room"
        apart, taken = gang.strategy == "STRICT_SPREAD", set[int]()
        for bundle, conditions in sorted(bundles, key=lambda each: -_size(each[0])):
            fitting = (x for x in self.bins if id(x) not in taken and x.holds(bundle, conditions))
            place = next(fitting, None) or self._open(bundle, conditions, why)
            if place is None:
                return False
            place.take(bundle)
            if apart:
                taken.add(id(place))
        return True

    def _open(
        self,
        wanted: Resources,
        conditions: Sequence[Labels],
        why: str,
        seconds: float | None = None,
    ) -> Bin | None:
        """A bin of a new machine, of the type that wastes least; None: there may be none."""
        found = [
            (waste(wanted, self._resources[kind.name]), kind.name, kind)
            for kind in self._types
            if min(self._room.get(kind.name, 0), self._room_for_all) > 0
            and (seconds is None or seconds <= self._lasts[kind.name])
            and can_hold(kind, self._resources[kind.name], wanted, conditions)
        ]
        if not found:
            return None
        kind = min(found)[2]
        self._room[kind.name] -= 1
        self._room_for_all -= 1
        self.new[kind.name] += 1
        opened = bin_of_type(kind, self._resources[kind.name], self._lasts[kind.name])
        opened.is_new = True
        self.why.setdefault(kind.name, why)
        self.bins.append(opened)
        return opened


def bin_of_type(
    kind: NodeType, resources: Resources, lasts: float = math.inf, machine: str = ""
) -> Bin:
    """The room on a machine of that type which is not there yet."""
    known = {**dict.fromkeys(_FOUND_OUT, _MANY * UNIT), **resources}
    return Bin(
        dict(known),
        kind.labels,
        machine=machine,
        node_type=kind.name,
        total=known,
        lasts=lasts,
    )


def can_hold(
    kind: NodeType, resources: Resources, wanted: Resources, conditions: Sequence[Labels]
) -> bool:
    """Whether an empty node of a type could hold that; a type of which nothing is known could."""
    empty = bin_of_type(kind, resources)
    if not resources:
        return labels_match(empty, conditions)
    return empty.holds(wanted, conditions) > 0


def waste(wanted: Resources, resources: Resources) -> tuple[int, float]:
    """How badly a type suits a demand: GPUs that it does not need, and what it leaves unused."""
    gpus = int(bool(resources.get("GPU")) and not wanted.get("GPU"))
    shares = [
        wanted.get(name, 0) / amount
        for name, amount in resources.items()
        if amount and name not in _FOUND_OUT
    ]
    return gpus, -(sum(shares) / len(shares) if shares else 0.0)


def words_for(demand: Demand, count: int) -> str:
    """A demand in words: `37 tasks that need 1 CPU each`."""
    wanted = need_in_words(demand)
    if count == 1:
        return f"1 {demand.waits_for.removesuffix('s')} that needs {wanted}"
    return f"{count} {demand.waits_for} that need {wanted} each"


def need_in_words(demand: Demand) -> str:
    """What each of a demand needs: `2 CPU, and 600 s`."""
    time = "" if demand.seconds is None else f", and {demand.seconds:g} s"
    return f"{in_words(demand.resources)}{time}"


def gang_in_words(gang: Gang) -> str:
    """A gang in words."""
    largest = max(gang.bundles, key=_size, default={})
    return (
        f"a placement group ({gang.strategy}) of {len(gang.bundles)} bundles of up to "
        f"{in_words(largest)}"
    )


def _times(free: Resources, wanted: Resources) -> int:
    return min(
        (max(0, free.get(name, 0)) // amount for name, amount in wanted.items() if amount > 0),
        default=_MANY,
    )


def _size(wanted: Resources) -> int:
    return sum(amount for name, amount in wanted.items() if name not in _FOUND_OUT)
