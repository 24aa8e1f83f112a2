"""YARN as a provider: the job's own ApplicationMaster adds ranks to it and takes them away.

Found by `registry`, for `submit --nodes 1:16` and `run --elastic`.  Machine `worker-3` is the third
rank after those that the job began with, so names and ranks are found from each other, whoever
asks.  The ApplicationMaster hands the key over, and drains a rank before it gives back the
container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rayhpc.batch.errors import OptionError
from rayhpc.batch.yarn.resizer import YarnResizer
from rayhpc.batch.yarn.talk import AddedRank, RankState
from rayhpc.elastic.types import MACHINE_LABEL, TYPE_LABEL, Machine, MachineState, NodeType
from rayhpc.providers.arrays import number_of
from rayhpc.providers.base import ClusterFacts, Provider, ProviderError, ProviderKind

_STATES = {
    RankState.PENDING: MachineState.PENDING,
    RankState.RUNNING: MachineState.RUNNING,
    RankState.ENDED: MachineState.ENDED,
}


class YarnProvider:
    """Implements `base.Provider` for one job.

    Args:
        master: the job's ApplicationMaster.
        node_type: the name of its only node type.
        nodes: how many ranks the job began with.
    """

    def __init__(self, master: YarnResizer, node_type: str, nodes: int) -> None:
        self._master, self._type, self._nodes = master, node_type, nodes

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """The ApplicationMaster adds each rank once."""
        with _in_our_words():
            for name in names:
                labels = {MACHINE_LABEL: name, TYPE_LABEL: node_type.name}
                self._master.add(self._rank(name), labels)

    def cancel(self, names: Sequence[str]) -> None:
        """Those that have no container yet."""
        with _in_our_words():
            for name in names:
                self._master.remove(self._rank(name), if_pending=True)

    def list(self) -> Sequence[Machine]:
        """One question, or a few."""
        with _in_our_words():
            return [self._machine(each) for each in self._master.added()]

    def release(self, names: Sequence[str]) -> None:
        """The ApplicationMaster drains them first."""
        with _in_our_words():
            for name in names:
                self._master.remove(self._rank(name))

    def explain(self, name: str) -> str:
        """What the ApplicationMaster knows of it, YARN's limits included."""
        found = next((each for each in self.list() if each.name == name), None)
        if found is None:
            return f"there is no container for {name} (any more)"
        at = f" on {found.address}" if found.address else ""
        return f"{name} is {found.state.value}{at}" + (f": {found.reason}" if found.reason else "")

    def _rank(self, name: str) -> int:
        return self._nodes - 1 + number_of(name)

    def _machine(self, row: AddedRank) -> Machine:
        name = f"{self._type}-{row.rank - self._nodes + 1}"
        state = _STATES[row.state]
        return Machine(name, self._type, state, row.host or None, row.reason or None)


class YarnKind(ProviderKind):
    """The provider `yarn`."""

    name = "yarn"
    title = "YARN"
    hands_over_key = True
    look_seconds = 1.0

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For the job that we are in."""
        if not isinstance(cluster.resizer, YarnResizer):
            raise OptionError(
                "YARN adds nodes only to a job of its own: use `rayhpc submit --scheduler yarn "
                "--nodes 1:16`"
            )
        (kind,) = types
        nodes = int(os.environ.get("RAYHPC_SIZE", "1"))
        return YarnProvider(cluster.resizer, kind.name, nodes)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (EOFError, TimeoutError) as error:
        raise ProviderError(str(error)) from error


PROVIDER = YarnKind()
