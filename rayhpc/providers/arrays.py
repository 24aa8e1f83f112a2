"""Job arrays as machines: an array's throttle is the tap from which they come.

Base of the providers of batch systems whose arrays have a limit on how many tasks run at once
(SLURM's `%4`, Grid Engine's `-tc 4`).  An array has as many tasks as a node type may have machines;
they start in order, as many at a time as the throttle allows.  Task `i` of an array with base `b`
is the machine with number `b + i`.  A task beyond the throttle has not been asked for.

What is known of the arrays is found again by their names, so another process may go on.  The batch
system itself keeps the bounds: no array has more tasks than its type may have machines, and none
runs more than its throttle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rayhpc.elastic.types import Machine, MachineState, NodeType
from rayhpc.providers.base import CapacityError, ClusterFacts, ProviderError

# More tasks than this are not accepted in one array (SLURM's MaxArraySize, usually 1001).
_MOST_TASKS = 1000


@dataclass(frozen=True)
class Task:
    """One task: where it stands, where it is, and why it waits or how it ended, in words.

    `permanent`: it waits for something that never comes.
    """

    state: MachineState
    node: str = ""
    reason: str = ""
    permanent: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether it has not begun."""
        return self.state is MachineState.PENDING

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to have."""
        return self.state is MachineState.ENDED


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
        """What the batch system shows of it now.

        `throttle` is given where nobody knows who is wanted.
        """
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
    """What the batch system shows of one array; `name` is its job's."""

    name: str
    base: int
    size: int
    tasks: dict[int, Task] = field(default_factory=dict)
    throttle: int = 0


class ArrayProvider(ABC):
    """Implements `base.Provider` for one cluster; what the batch system is told is in subclasses.

    Args:
        cluster: the cluster.
        types: its node types.
    """

    def __init__(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> None:
        self.cluster = cluster
        self.names = {kind.name: f"{cluster.name}-{kind.name}" for kind in types}
        self._arrays: dict[str, list[Array]] = {kind.name: [] for kind in types}

    # -- what a batch system does, each with at most one request; all raise ProviderError ----------
    @abstractmethod
    def submit(self, kind: NodeType, base: int, size: int, count: int) -> str:
        """Submit an array with that throttle; returns its job's id.

        Raises:
            RefusedError: never, as asked.
            CapacityError: it is too large, or there are too many jobs: a smaller one may do.
        """

    @abstractmethod
    def set_throttle(self, array: Array) -> None:
        """Have as many of its tasks run as are wanted."""

    @abstractmethod
    def cancel_tasks(self, array: Array, indexes: Iterable[int], *, pending_only: bool) -> None:
        """Cancel these tasks."""

    @abstractmethod
    def cancel_array(self, array: Array, *, pending_only: bool) -> None:
        """Cancel all of them."""

    @abstractmethod
    def look(self) -> dict[str, Shown]:
        """All arrays of this cluster, by their jobs' ids."""

    @abstractmethod
    def explain_task(self, array: Array, index: int) -> str:
        """Why a task is pending, or how it ended, in the batch system's own words."""

    # -- Provider --------------------------------------------------------------------------------
    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Raise throttles, and submit another array for what is in none."""
        name = node_type.name
        rest = set()
        for number in map(number_of, names):
            array, index = self._find(name, number)
            if array is None:
                rest.add(number)
            elif array.tasks.get(index) is None or not array.tasks[index].is_over:
                array.wanted.add(index)
        for array in self._arrays[name]:
            if array.wanted and not array.is_closed:
                self._open_tap(array)
        if rest:
            self._submit(node_type, sorted(rest))

    def cancel(self, names: Sequence[str]) -> None:
        """Only what is pending; what has begun meanwhile is shown by `list`."""
        self._take_back(names, pending_only=True)

    def release(self, names: Sequence[str]) -> None:
        """The throttle first: else the next task would start at once."""
        self._take_back(names, pending_only=False)

    def list(self) -> Sequence[Machine]:
        """One request for all."""
        known = {array.job: array for arrays in self._arrays.values() for array in arrays}
        shown = self.look()
        types = {job_name: name for name, job_name in self.names.items()}
        for job, each in shown.items():
            if each.name not in types:
                continue
            array = known.get(job)
            if array is None:
                array = Array(job, each.base, each.size)
                self._arrays[types[each.name]].append(array)
            array.see(each.tasks, None if job in known else each.throttle)
        return [machine for name in self._arrays for machine in self._machines(name)]

    def explain(self, name: str) -> str:
        """What the batch system says of that task, and what it means."""
        array, index = self._find(name.rpartition("-")[0], number_of(name), closed=True)
        if array is None:
            return f"there is no job for {name} (any more)"
        return self.explain_task(array, index)

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Those that are known so far, each with its job's name."""
        for node_type, arrays in self._arrays.items():
            for array in arrays:
                yield self.names[node_type], array

    # -- arrays ----------------------------------------------------------------------------------
    def _find(
        self, node_type: str, number: int, *, closed: bool = False
    ) -> tuple[Array | None, int]:
        for array in reversed(self._arrays.get(node_type, [])):
            index = array.index_of(number)
            if index is not None and (closed or not array.is_closed):
                return array, index
        return None, 0

    def _open_tap(self, array: Array) -> None:
        stale = array.unwanted_before(max(array.wanted))
        if stale:
            self.cancel_tasks(array, stale, pending_only=True)
        self.set_throttle(array)

    def _submit(self, kind: NodeType, numbers: Sequence[int]) -> None:
        """An array that begins with the first of them.

        Where a large one is refused: as many tasks as are wanted now, and then in halves.
        """
        base, size = numbers[0] - 1, numbers[-1] - numbers[0] + 1
        largest = min(_MOST_TASKS, max(kind.max_nodes, size))
        try:
            self._submit_one(kind, base, largest, numbers)
        except CapacityError:
            if largest > size:
                try:
                    self._submit_one(kind, base, size, numbers)
                    return
                except CapacityError:
                    pass
            if len(numbers) == 1:
                raise
            self._submit_halves(kind, numbers)

    def _submit_halves(self, kind: NodeType, numbers: Sequence[int]) -> None:
        half = len(numbers) // 2
        self._submit(kind, numbers[:half])
        try:
            self._submit(kind, numbers[half:])
        except CapacityError as error:
            # Some have been accepted: all are asked for again, and those are found then.
            raise ProviderError(str(error)) from error

    def _submit_one(self, kind: NodeType, base: int, size: int, numbers: Sequence[int]) -> None:
        job = self.submit(kind, base, size, len(numbers))
        array = Array(job, base, size, {number - base for number in numbers})
        array.tasks = {i: Task(MachineState.PENDING) for i in range(1, size + 1)}
        self._arrays[kind.name].append(array)

    def _take_back(self, names: Iterable[str], *, pending_only: bool) -> None:
        for array, indexes in self._grouped(names):
            array.wanted -= indexes
            if array.wanted:
                self.set_throttle(array)
                self.cancel_tasks(array, indexes, pending_only=pending_only)
            else:
                array.is_closed = True
                self.cancel_array(array, pending_only=pending_only)

    def _grouped(self, names: Iterable[str]) -> Iterator[tuple[Array, set[int]]]:
        found: dict[str, tuple[Array, set[int]]] = {}
        for name in names:
            array, index = self._find(name.rpartition("-")[0], number_of(name), closed=True)
            if array is not None:
                found.setdefault(array.job, (array, set()))[1].add(index)
        yield from found.values()

    def _machines(self, node_type: str) -> Iterator[Machine]:
        for array in self._arrays[node_type]:
            for index, task in array.tasks.items():
                if task.is_pending and index not in array.wanted:
                    continue
                yield Machine(
                    f"{node_type}-{array.base + index}",
                    node_type,
                    task.state,
                    task.node or None,
                    task.reason or None,
                    task.permanent,
                )


def number_of(name: str) -> int:
    """The number in a machine's name."""
    return int(name.rpartition("-")[2])


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as batch systems take them: `1,3-5`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def numbers_in(text: str) -> Iterator[int]:
    """The numbers in such a text."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
