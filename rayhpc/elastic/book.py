"""The planner's memory: one row for each machine that was asked for and is not known to be over.

Used by `plan` and the modules it is made of.  `State` goes into a plan and comes out of it; the
loop writes it down before it acts, so that what was asked for is found again by name.  `Book` is a
`State` while a plan is being made.  Acts on nothing, reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from rayhpc.elastic.types import NodeType
from rayhpc.wire.messages.common import Resources

# After so many failures in a row the next ask waits so long: the first is retried at once.
DELAYS_S = (0.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
# A node lost sooner after it has joined was never of use; so many of them pause their type.
QUICK_LOSS_S = 30.0
QUICK_LOSSES = 3
# This long before its end, or this share of its life, a machine takes no new work.
_LEAD_S, _LEAD = 30.0, 0.05
# For so long the next node of a type is taken to last no longer than the last one did.
_LIKE_THE_LAST_S = 600.0


class Phase(Enum):
    """Where a machine stands, as far as the planner knows."""

    ASKED = "asked"  # whether the place has heard it is not known yet
    PENDING = "pending"
    STARTING = "starting"  # there, but its node has not joined
    UP = "up"
    DRAINING = "draining"
    CANCELLING = "cancelling"
    RELEASING = "releasing"


COMING = (Phase.ASKED, Phase.PENDING, Phase.STARTING)
GOING = (Phase.CANCELLING, Phase.RELEASING)


@dataclass(frozen=True)
class Row:
    """One machine.

    Attributes:
        name: its name.
        node_type: its type's name.
        phase: where it stands.
        since: when that began.
        asked: when it was asked for.
        told: when the place was last told what to do with it.
        joined: when its node joined; None: not yet.
        unwanted: since when nothing that waits needs it; None: something does.
        missing: how many looks at the place have not shown it, and when the last of them was.
        reason: what the place last said of it.
        retiring: it drains for good, because its time is nearly over.
    """

    name: str
    node_type: str
    phase: Phase
    since: float
    asked: float
    told: float = 0.0
    joined: float | None = None
    unwanted: float | None = None
    missing: tuple[int, float] = (0, 0.0)
    reason: str = ""
    retiring: bool = False


@dataclass(frozen=True)
class TypeState:
    """What is remembered of a node type.

    Attributes:
        serial: the highest number given to a machine of it.
        failures: how many asks have failed since one has succeeded.
        not_before: nothing is asked for until then.
        reason: what the last failure was.
        paused: why nothing more is asked for at all; empty: it is not paused.
        quick_losses: how many nodes in a row were lost soon after they had joined.
        step: how many may be asked for next, unless more are needed together.
        stepped: when the step last grew.
        unmet: since when something has waited that another machine would serve; None: nothing has.
        learnt: what a node of it turned out to have.
        left: how many seconds its last node had left when it joined, and when that was; None: its
            end is not known.
    """

    serial: int = 0
    failures: int = 0
    not_before: float = 0.0
    reason: str = ""
    paused: str = ""
    quick_losses: int = 0
    step: int = 1
    stepped: float = 0.0
    unmet: float | None = None
    learnt: Resources = field(default_factory=dict)
    left: tuple[float, float] | None = None


@dataclass(frozen=True)
class State:
    """Everything remembered from one plan to the next.

    `adopted`: the place has been looked at since the memory began, so that machines asked for
    before are known; nothing is asked for until then.
    """

    rows: Mapping[str, Row] = field(default_factory=dict)
    types: Mapping[str, TypeState] = field(default_factory=dict)
    adopted: bool = False


def lead_of(life_seconds: float) -> float:
    """How long before its end a machine that lives for so long takes no new work."""
    return max(_LEAD_S, _LEAD * life_seconds)


class Book:
    """A state while it changes.

    Args:
        state: what was remembered.
        types: the node types there are.
        now: the time.
        most: how many machines of all types together there may be; None: as the types say.
    """

    def __init__(
        self, state: State, types: Iterable[NodeType], now: float, most: int | None = None
    ) -> None:
        self.now = now
        self.most = most
        self.types = {each.name: each for each in types}
        self.rows = dict(state.rows)
        self.memory = {name: state.types.get(name, TypeState()) for name in self.types}
        self.adopted = state.adopted
        self._failed: set[str] = set()

    def state(self) -> State:
        """What is to be remembered."""
        return State(self.rows, self.memory, self.adopted)

    def of(self, node_type: str, *phases: Phase) -> Iterator[Row]:
        """The rows of a type in these phases (none given: in any), oldest first."""
        for row in self.rows.values():
            if row.node_type == node_type and (not phases or row.phase in phases):
                yield row

    def count(self, node_type: str) -> int:
        """How many machines of a type may exist: all that are not known to be over."""
        return sum(1 for _ in self.of(node_type))

    def staying(self, node_type: str) -> int:
        """How many of them are there or coming, and not on their way out."""
        return sum(1 for _ in self.of(node_type, *COMING, Phase.UP))

    def room(self, node_type: str) -> int:
        """How many more may be asked for now."""
        kind, memory = self.types[node_type], self.memory[node_type]
        if memory.paused or self.now < memory.not_before or not self.adopted:
            return 0
        return max(0, kind.max_nodes - self.count(node_type))

    def room_for_all(self) -> int:
        """How many more machines of all types together there may be."""
        if self.most is None:
            return sum(kind.max_nodes for kind in self.types.values())
        return max(0, self.most - len(self.rows))

    def resources(self, node_type: str) -> Resources:
        """What a node of a type has, as far as is known."""
        return self.memory[node_type].learnt or self.types[node_type].resources

    def lasts(self, node_type: str) -> float:
        """How many seconds a new node of a type takes work for, as far as is known."""
        life, left = self.types[node_type].life_seconds, self.memory[node_type].left
        lasts = math.inf if life is None else life - lead_of(life)
        if left is not None and self.now - left[1] < _LIKE_THE_LAST_S:
            lasts = min(lasts, left[0])
        return lasts

    def new(self, node_type: str, count: int) -> tuple[str, ...]:
        """Rows for machines that are about to be asked for; their names."""
        serial = self.memory[node_type].serial
        names = tuple(f"{node_type}-{serial + 1 + i}" for i in range(count))
        for name in names:
            self.rows[name] = Row(name, node_type, Phase.ASKED, self.now, self.now, self.now)
        self.remember(node_type, serial=serial + count)
        return names

    def adopt(self, name: str, node_type: str, phase: Phase) -> None:
        """A machine of ours that is not in the book, such as after a crash."""
        if node_type not in self.types:
            return
        number = name.removeprefix(f"{node_type}-")
        if number.isdecimal():
            serial = max(self.memory[node_type].serial, int(number))
            self.remember(node_type, serial=serial)
        self.rows[name] = Row(name, node_type, phase, self.now, self.now)

    def move(self, row: Row, phase: Phase, **more: object) -> Row:
        """Put a row into another phase."""
        changed = replace(row, phase=phase, since=self.now, **more)  # type: ignore[arg-type]
        self.rows[row.name] = changed
        return changed

    def note(self, row: Row, **more: object) -> Row:
        """Change a row without moving it."""
        changed = replace(self.rows[row.name], **more)  # type: ignore[arg-type]
        self.rows[row.name] = changed
        return changed

    def remember(self, node_type: str, **more: object) -> None:
        """Change what is remembered of a type."""
        self.memory[node_type] = replace(self.memory[node_type], **more)  # type: ignore[arg-type]

    def fail(self, node_type: str, reason: str) -> None:
        """A machine of a type did not come to be; several at once count as one failure."""
        if node_type in self._failed:
            return
        self._failed.add(node_type)
        before = self.memory[node_type].failures
        delay = DELAYS_S[min(before, len(DELAYS_S) - 1)]
        self.remember(
            node_type, failures=before + 1, not_before=self.now + delay, reason=reason, step=1
        )

    def pause(self, node_type: str, reason: str) -> None:
        """Ask for no more of a type: it would be in vain."""
        self.remember(node_type, paused=reason)

    def lost(self, row: Row) -> None:
        """A node is gone that nobody has sent away."""
        lived = self.now - (row.joined if row.joined is not None else self.now)
        if lived >= QUICK_LOSS_S:
            self.remember(row.node_type, quick_losses=0)
            return
        losses = self.memory[row.node_type].quick_losses + 1
        self.remember(row.node_type, quick_losses=losses)
        if losses >= QUICK_LOSSES:
            self.pause(
                row.node_type,
                f"{losses} nodes in a row were lost within {QUICK_LOSS_S:g} s of joining"
                + (f": {row.reason}" if row.reason else ""),
            )
