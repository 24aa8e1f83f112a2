"""Job arrays as squeue shows them, and which of their tasks are machines that were asked for.

Used by `provider`.  Asks nothing.

An array has as many tasks as a node type may have machines; SLURM starts them in order, as many at
a time as its throttle allows.  Task `i` of an array with base `b` is the machine with number
`b + i`.  A task beyond the throttle has not been asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rayhpc.batch.job_status import State
from rayhpc.batch.slurm.words import state_of

#: What squeue prints of each line, and what our jobs say about themselves there (`--comment`).
FORMAT = "%i|%T|%r|%N|%j|%k"
_COMMENT = re.compile(r"rayhpc base=(\d+) size=(\d+)")
_ID = re.compile(r"(\d+)_(?:(\d+)|\[([\d,-]+)(?:%(\d+))?\])")


@dataclass(frozen=True)
class Task:
    """One task: SLURM's word for its state, why it waits, the node it is on."""

    word: str
    reason: str = ""
    node: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it has not begun."""
        return self.word in ("PENDING", "CONFIGURING", "REQUEUED")

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to have."""
        return self.word == "COMPLETING" or state_of(self.word) not in (
            State.PENDING,
            State.RUNNING,
        )


@dataclass
class Array:
    """One array: its job's id, its base and size, and which of its tasks are to run.

    `wanted` are indexes, from 1; the throttle is their number.  Closed: nothing of it starts any
    more, what is needed next is another array.
    """

    job: str
    base: int
    size: int
    wanted: set[int] = field(default_factory=set)
    tasks: dict[int, Task] = field(default_factory=dict)
    is_closed: bool = False

    def index_of(self, number: int) -> int | None:
        """The index of a machine's number; None: it is none of this array's."""
        index = number - self.base
        return index if 1 <= index <= self.size else None

    def unwanted_before(self, last: int) -> list[int]:
        """Tasks that would start before that one although nobody wants them."""
        return [i for i in range(1, last) if i not in self.wanted and self._may_start(i)]

    def _may_start(self, index: int) -> bool:
        task = self.tasks.get(index)
        return task is not None and task.is_pending

    def see(self, tasks: dict[int, Task], throttle: int | None) -> None:
        """What squeue shows of it now; `throttle` is given where nobody knows who is wanted."""
        self.tasks = tasks
        over = {i for i, task in tasks.items() if task.is_over}
        there = {i for i, task in tasks.items() if not task.is_over and not task.is_pending}
        self.wanted = (self.wanted - over) | there
        if throttle is not None:
            waiting = sorted(i for i, task in tasks.items() if task.is_pending)
            self.wanted.update(waiting[: max(0, throttle - len(there))])
        if not any(task.is_pending for task in tasks.values()) and not there:
            self.is_closed = True


@dataclass
class Shown:
    """What squeue shows of one array."""

    name: str
    base: int
    size: int
    tasks: dict[int, Task] = field(default_factory=dict)
    throttle: int = 0


def read(text: str) -> dict[str, Shown]:
    """The arrays of ours in what squeue prints, by job id."""
    found: dict[str, Shown] = {}
    for line in text.splitlines():
        parts = line.split("|")
        identity, comment = _ID.fullmatch(parts[0].strip()), _COMMENT.search(parts[-1])
        if len(parts) != 6 or identity is None or comment is None:
            continue
        job, one, several, throttle = identity.groups()
        shown = found.setdefault(job, Shown(parts[4], int(comment[1]), int(comment[2])))
        task = Task(parts[1], parts[2], parts[3])
        indexes = [int(one)] if one else list(_numbers(several))
        shown.tasks.update(dict.fromkeys(indexes, task))
        if throttle:
            shown.throttle = int(throttle)
        elif several:
            shown.throttle = shown.size
    return found


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as SLURM takes them: `1,3-5`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
