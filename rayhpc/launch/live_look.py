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
from rayhpc.wire.messages.cluster import (
    ClusterState,
    JobRow,
    ListActors,
    ListJobs,
    NodeHistory,
    NodesOverTime,
)
from rayhpc.wire.messages.task_runs import RunPage, TaskRuns

# Of one node in one look; runs come at about 32 bytes each.
_PAGE_BYTES = 512 * 1024
# How many nodes whose past is still to be read are asked in one look.
_BEHIND_AT_ONCE = 16
_ANSWER_S = 3.0
# The history of all nodes is long, and moves slowly.
_HISTORY_EVERY_S = 5.0


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
        self._history: list[NodeHistory] = []
        self._history_at = float("-inf")

    def look(self) -> Look:
        """What the cluster is and does now.  Raises LaunchError if it does not answer."""
        observer = self._observer
        state = observer.state()
        actors = observer.ask(ListActors(), list[ActorRow])
        jobs = observer.ask(ListJobs(), list[JobRow])
        if time.monotonic() - self._history_at >= _HISTORY_EVERY_S:
            self._history = observer.ask(NodesOverTime(), list[NodeHistory])
            self._history_at = time.monotonic()
        self._read_runs(state)
        now = time.time()
        return Look(
            at=now,
            address=self._address,
            state=state,
            actors=actors,
            jobs=jobs,
            history=self._history,
            tally=self.tally,
            behind=len(self._behind),
            time_limit=self._time_limit,
        )

    def _read_runs(self, state: ClusterState) -> None:
        raylets = [raylet_of(x.info.number) for x in state.nodes if x.alive]
        new = [x for x in raylets if x not in self._read]
        self._behind = (self._behind & set(raylets)) | set(new)
        asked = [x for x in raylets if x not in self._behind]
        asked += sorted(self._behind)[:_BEHIND_AT_ONCE]
        found = self._observer.ask_each(
            asked,
            lambda x: TaskRuns(since=self._read.get(x, 0), most=_PAGE_BYTES),
            list[RunPage],
            _ANSWER_S,
        )
        for whom, pages in found.items():
            for page in pages:
                # The past of a cluster that was there before us says nothing about its pace.
                self.tally.add(page, is_news=whom not in self._behind)
                self._read[whom] = page.position
                if page.following < 0:
                    self._behind.discard(whom)
        self.tally.mark(time.monotonic())
