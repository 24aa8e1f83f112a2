"""A cluster's life as typed columns: what every view is a function of.

Made by `facts`.  Only data: one numpy array for each property of the runs, so that a million runs
cost a few dozen megabytes and no loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NamedTuple, TypeVar

from rayhpc.observe.recording import ActorFacts, JobFacts
from rayhpc.wire.messages.listings import NodeHistory, NodeState, WorkerRow

Column = Any  # a numpy array; numpy's own types are not checked
UNIT = 10_000

T = TypeVar("T")


class Worker(NamedTuple):
    """A process that ran tasks or an actor; `node` is the node's number."""

    address: int
    node: int
    pid: int


@dataclass(frozen=True)
class Runs:
    """All runs, in the order of worker and start; columns of the same length.

    `start`, `seconds`, `waited` and `submitted` are in seconds, `start` and `submitted` since 1970
    (`submitted` 0: unknown); `function`, `worker` and `failure` index the snapshot's lists (failure
    -1: none), `actor` its actors' ids (-1: a task).
    `key` identifies the task or call (the same for all attempts), `parent` the one that submitted
    it (0: a driver).  The references that run i took are
    `sources[first_source[i]:first_source[i + 1]]`, as keys of the tasks that made them.
    """

    start: Column
    seconds: Column
    waited: Column
    submitted: Column
    function: Column
    worker: Column
    attempt: Column
    failure: Column
    actor: Column
    cpus: Column
    gpus: Column
    key: Column
    parent: Column
    sources: Column
    first_source: Column

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> Column:
        """When each run ended."""
        return self.start + self.seconds


@dataclass(frozen=True)
class Sent:
    """Arguments of one function that were too large for a message: how many calls, and bytes."""

    calls: int
    size: int


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a cluster did until `end`; times in seconds since 1970.

    `begin` is the program's start.  `dropped` counts runs that were not kept, `sent` has the large
    arguments by function.
    """

    job: JobFacts
    begin: float
    end: float
    nodes: list[NodeState]
    history: list[NodeHistory]
    actors: list[ActorFacts]
    ended_workers: list[WorkerRow]
    demand: list[tuple[dict[str, int], int, str]]
    functions: list[str]
    workers: list[Worker]
    failures: list[str]
    tracebacks: dict[str, str]
    actor_ids: list[bytes]
    sent: dict[int, Sent]
    runs: Runs
    dropped: int
    notes: list[str]
    # What views share; a copy with other runs begins without.
    known: dict[Any, Any] = field(init=False, default_factory=dict, repr=False)

    @property
    def span(self) -> float:
        """How long it took, in seconds; never 0."""
        return max(1e-6, self.end - self.begin)

    def total(self, resource: str) -> float:
        """How much of a resource the nodes had in total."""
        return sum(x.info.total.get(resource, 0) for x in self.nodes) / UNIT


def once(view: Callable[[Snapshot], T]) -> Callable[[Snapshot], T]:
    """Make a function that other views use too compute once for a snapshot, and be gone with it."""

    @wraps(view)
    def known(snapshot: Snapshot) -> T:
        if known not in snapshot.known:
            snapshot.known[known] = view(snapshot)
        found: T = snapshot.known[known]
        return found

    return known
