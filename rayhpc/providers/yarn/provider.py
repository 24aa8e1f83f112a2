"""YARN as a provider: the job's own ApplicationMaster adds ranks to it and takes them away.

Found by `registry`, for `submit --nodes 1:16`, `run --elastic` and clusters of `rayhpc up`, whose
head is the first container.  With one node type, machine `worker-3` is the third rank after those
that the job began with; with several, they take turns.  So names and ranks are found from each
other, whoever asks.  The ApplicationMaster hands the key over, and drains a rank before it gives
back the container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.batch.yarn.resizer import YarnResizer
from rayhpc.batch.yarn.system import SYSTEM
from rayhpc.batch.yarn.talk import AddedRank, RankState
from rayhpc.elastic.types import MACHINE_LABEL, TYPE_LABEL, Machine, MachineState, NodeType
from rayhpc.providers.arrays import number_of
from rayhpc.providers.base import ClusterFacts, Provider, ProviderError, ProviderKind
from rayhpc.providers.node_words import node_words
from rayhpc.providers.yarn import container
from rayhpc.wire.messages.common import UNIT

_STATES = {
    RankState.PENDING: MachineState.PENDING,
    RankState.RUNNING: MachineState.RUNNING,
    RankState.ENDED: MachineState.ENDED,
}


class YarnProvider:
    """Implements `base.Provider` for one job.

    Args:
        master: the job's ApplicationMaster.
        types: the names of its node types.
        nodes: how many ranks the job began with.
        alike: its nodes have the job's own options, not those of their types.
    """

    def __init__(
        self, master: YarnResizer, types: Sequence[str], nodes: int, *, alike: bool = True
    ) -> None:
        self._master, self._types, self._nodes = master, [*types], nodes
        self._alike = alike

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """The ApplicationMaster adds each rank once."""
        with _in_our_words():
            for name in names:
                labels = {MACHINE_LABEL: name, TYPE_LABEL: node_type.name}
                self._master.add(self._rank(name), labels, self._options(node_type))

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

    def _options(self, kind: NodeType) -> Sequence[str] | None:
        """Of `rayhpc run` on such a node."""
        if self._alike:
            return None
        amounts = {name: amount / UNIT for name, amount in kind.resources.items()}
        words = node_words(amounts, kind.labels)
        return [f"{name}={value}" for name, value in words.items()]

    def _rank(self, name: str) -> int:
        turn = self._types.index(name.rpartition("-")[0])
        return self._nodes + (number_of(name) - 1) * len(self._types) + turn

    def _machine(self, row: AddedRank) -> Machine:
        number, turn = divmod(row.rank - self._nodes, len(self._types))
        kind, state = self._types[turn], _STATES[row.state]
        return Machine(f"{kind}-{number + 1}", kind, state, row.host or None, row.reason or None)


class YarnKind(ProviderKind):
    """The provider `yarn`."""

    name = "yarn"
    title = "YARN"
    hands_over_key = True
    look_seconds = 1.0
    batch_system = "yarn"
    within_heads_job = True

    def job_words(self, node_type: NodeType) -> list[str]:
        """As they are shown."""
        return container.words_of(node_type)

    def job_fields(self, node_type: NodeType) -> dict[str, Any]:
        """Queue and size are YARN's own, the others those of `--yarn`."""
        return container.fields_of(node_type)

    def open(self, cluster: ClusterFacts, types: Sequence[NodeType]) -> Provider:
        """For the job that we are in."""
        if not isinstance(cluster.resizer, YarnResizer):
            raise OptionError(
                "YARN adds nodes only to a job of its own: use `rayhpc submit --scheduler yarn "
                "--nodes 1:16`, or `rayhpc up` with `provider: {type: yarn}`"
            )
        if cluster.options is not None and SYSTEM.shares_uid(os.environ):
            raise OptionError(
                "containers of all users have one uid here (YARN without LinuxContainerExecutor), "
                "so programs from outside could not be let in: have the site run containers as "
                "their users, or use `rayhpc submit --scheduler yarn --nodes 1:16`"
            )
        nodes = int(os.environ.get("RAYHPC_SIZE", "1"))
        alike = cluster.options is None
        return YarnProvider(cluster.resizer, [x.name for x in types], nodes, alike=alike)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (EOFError, TimeoutError) as error:
        raise ProviderError(str(error)) from error


PROVIDER = YarnKind()
