"""Grows and shrinks a job while its program runs, where the batch system can do that.

Used by rank 0 (`head_rank`).  A program says in the head's key-value store how many nodes it wants
(`api.session.size`); the thread here passes that on, and drains the nodes that are to leave: they
take no new work, and leave when their running work has ended.
"""

from __future__ import annotations

import threading
import time

import msgspec

from rayhpc.batch.system import Resizer
from rayhpc.exit_codes import LaunchError
from rayhpc.launch.observer import Observer, Operator
from rayhpc.wire.address import raylet_of
from rayhpc.wire.messages.cluster import Drain as DrainNode
from rayhpc.wire.messages.cluster import KvGet, KvPut
from rayhpc.wire.messages.listings import NodeState
from rayhpc.wire.messages.size import SIZE_SPACE, UNIT_KEY, WANTED_KEY, Unit

# How often to check what the program wants and which nodes have left.
_LOOK_S = 0.5
# How long running work on a node that is to leave may take.
_DRAIN_S = 120.0
_REASON = "the job shrinks"


class Resizing:
    """The thread that resizes the job, until the cluster or the resizer is gone.

    Args:
        session_dir: of this node's session.
        resizer: adds and removes nodes.
        unit: what one node has; None: programs do not say how many nodes they want here, and only
            what is to leave is drained.
    """

    def __init__(self, session_dir: str, resizer: Resizer, unit: Unit | None) -> None:
        self._session_dir, self._resizer, self._unit = session_dir, resizer, unit
        self._wanted: bytes | None = None
        self._leaving: dict[int, float] = {}
        threading.Thread(target=self._run, name="resizing", daemon=True).start()

    def _run(self) -> None:
        try:
            with Operator(self._session_dir) as operator:
                if self._unit is not None:
                    put = KvPut(SIZE_SPACE, UNIT_KEY, msgspec.json.encode(self._unit))
                    operator.ask(put, bool)
                while True:
                    self._turn(operator)
        except (LaunchError, EOFError):
            return  # the cluster has ended

    def _turn(self, operator: Operator) -> None:
        rank = self._resizer.leaving(_LOOK_S)
        if rank is not None:
            self._leaving[rank] = time.monotonic() + _DRAIN_S
            node = _node_of(operator, rank)
            if node is not None:
                operator.tell(raylet_of(node.info.number), DrainNode(_REASON, _DRAIN_S))
        if self._unit is not None:
            self._pass_on(operator)
        for rank in [rank for rank in self._leaving if _node_of(operator, rank) is None]:
            del self._leaving[rank]
            self._resizer.left(rank)

    def _pass_on(self, operator: Operator) -> None:
        wanted = operator.ask(KvGet(SIZE_SPACE, WANTED_KEY), object)
        if isinstance(wanted, bytes) and wanted != self._wanted:
            self._wanted = wanted
            self._resizer.want(int(wanted))


def _node_of(observer: Observer, rank: int) -> NodeState | None:
    """The live node of a rank."""
    return next((x for x in observer.nodes() if x.alive and x.info.rank == rank), None)
