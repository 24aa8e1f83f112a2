"""Looks at a running cluster again and again, each time asking only for what is new.

Used by `rayhpc top` and `rayhpc dashboard`.  Asks, like every observer.  What each look costs the
head and the raylets depends on what has happened since the last one, not on the cluster's age: the
runs of a node that has had many before are read a piece at a time.
"""

from __future__ import annotations

import time

from rayhpc.launch.observer import Observer
from rayhpc.observe.live.look import Look
from rayhpc.observe.live.tally import Tally
from rayhpc.wire.address import Address, raylet_of
from rayhpc.wire.messages.actors import ActorRow
from rayhpc.wire.messages.cluster import ClusterUsage, ListActors, ListJobs, NodesOverTime
from rayhpc.wire.messages.listings import ClusterState, JobRow, NodeHistory
from rayhpc.wire.messages.task_runs import RunPage, TaskRuns

# Of one node in one answer; runs come at about 40 bytes each.
_PAGE_BYTES = 512 * 1024
# How many answers of one node are read in one look before it counts as behind: 100,000 runs.
_PAGES_MOST = 8
# How many answers are read in one look of nodes whose past is still to be read.
_BEHIND_AT_ONCE = 16
# A head that is away is told of before its nodes give it up.
_ANSWER_S = 3.0
# For each actor that the head lists it is left alone for this long: an actor costs it 8 µs, so that
# all of them take a five-hundredth of a core at the most.
_PAUSE_AN_ACTOR_S = 4e-3


class LiveLook:
    """One who looks.

    Args:
        observer: attached to the cluster.
        address: the head's, as people write it.
        recent: how many of the latest runs are kept as they came (0: none).
        time_limit: when the allocation ends, in seconds since 1970 (0: unknown).
    """

    def __init__(
        self, observer: Observer, address: str, recent: int = 0, time_limit: float = 0.0
    ) -> None:
        self.tally = Tally(recent)
        self._observer = observer
        self._address = address
        self._time_limit = time_limit
        # How far each raylet's runs have been read, and who has more.
        self._read: dict[Address, int] = {}
        self._behind: set[Address] = set()
        self._actors: list[ActorRow] = []
        self._actors_due = float("-inf")

    def look(self, with_history: bool = False) -> Look:
        """What the cluster is and does now.

        Args:
            with_history: also ask for the nodes over time, which are many figures.

        Raises:
            LaunchError: it does not answer.
        """
        observer = self._observer
        state = observer.ask(ClusterUsage(), ClusterState, timeout_s=_ANSWER_S)
        if time.monotonic() >= self._actors_due:
            self._actors = observer.ask(ListActors(), list[ActorRow], timeout_s=_ANSWER_S)
            self._actors_due = time.monotonic() + _PAUSE_AN_ACTOR_S * len(self._actors)
        jobs = observer.ask(ListJobs(), list[JobRow], timeout_s=_ANSWER_S)
        history: list[NodeHistory] = []
        if with_history:
            history = observer.ask(NodesOverTime(), list[NodeHistory], timeout_s=_ANSWER_S)
        self._read_runs(state)
        now = time.time()
        return Look(
            at=now,
            address=self._address,
            state=state,
            actors=self._actors,
            jobs=jobs,
            history=history,
            tally=self.tally,
            behind=len(self._behind),
            time_limit=self._time_limit,
        )

    def _read_runs(self, state: ClusterState) -> None:
        raylets = [raylet_of(x.info.number) for x in state.nodes if x.alive]
        new = [x for x in raylets if x not in self._read]
        self._behind = (self._behind & set(raylets)) | set(new)
        asked = [x for x in raylets if x not in self._behind]
        older = sorted(self._behind)[:_BEHIND_AT_ONCE]
        asked += older
        left = _BEHIND_AT_ONCE - len(older)
        for _ in range(_PAGES_MOST):
            more = self._read_pages(asked)
            older = [x for x in more if x in self._behind][:left]
            left -= len(older)
            asked = [x for x in more if x not in self._behind] + older
            if not asked:
                break
        self._behind.update(asked)
        self.tally.mark(time.monotonic())

    def _read_pages(self, asked: list[Address]) -> list[Address]:
        """Read an answer of each; returns those that have more."""
        found = self._observer.ask_each(
            asked,
            lambda x: TaskRuns(since=self._read.get(x, 0), most=_PAGE_BYTES),
            list[RunPage],
            _ANSWER_S,
        )
        more: list[Address] = []
        for whom, (page,) in found.items():
            # The past of a cluster that was there before us says nothing about its pace.
            self.tally.add(page, is_news=whom not in self._behind)
            self._read[whom] = page.position
            if page.following < 0:
                self._behind.discard(whom)
            else:
                more.append(whom)
        return more
