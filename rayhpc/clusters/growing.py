"""A provider of machines for the planner: each machine that comes to run is set up as well.

Used by `cli.staying`.  A machine's trouble stays its own: one that cannot be set up is told, ended,
and thereby a failure of its type, for which the planner waits longer each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from rayhpc.clusters.machine_plan import is_head
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.exit_codes import LaunchError
from rayhpc.providers.base import ProviderError
from rayhpc.providers.machines import MachineProvider, Rented

# Machines that are set up at the same time.
_AT_ONCE = 8


class SettingUp:
    """Implements `base.Provider`.

    Args:
        provider: makes the machines.
        set_up: does everything on one until its node runs; raises LaunchError.
        complain: shows a failure.
        known: machines whose nodes run already.
    """

    def __init__(
        self,
        provider: MachineProvider,
        set_up: Callable[[Rented], None],
        complain: Callable[[LaunchError], None],
        known: Iterable[str] = (),
    ) -> None:
        self._provider = provider
        self._set_up = set_up
        self._complain = complain
        self._begun = set(known)
        self._room = threading.Semaphore(_AT_ONCE)

    def ask(self, node_type: NodeType, names: Sequence[str]) -> None:
        """Have them made."""
        self._provider.ask(node_type, names)

    def cancel(self, names: Sequence[str]) -> None:
        """Those that are not there yet."""
        self._provider.cancel(names)

    def list(self) -> Sequence[Rented]:
        """The workers' machines; begins to set up those that have come to run."""
        found = [each for each in self._provider.list() if not is_head(each)]
        for each in found:
            runs = each.state is MachineState.RUNNING and each.login and each.address
            if runs and each.name not in self._begun:
                self._begun.add(each.name)
                threading.Thread(target=self._work, args=(each,), daemon=True).start()
        return found

    def release(self, names: Sequence[str]) -> None:
        """End them."""
        self._provider.release(names)

    def explain(self, name: str) -> str:
        """In the place's words."""
        return self._provider.explain(name)

    def _work(self, machine: Rented) -> None:
        try:
            with self._room:
                self._set_up(machine)
        except LaunchError as error:
            self._complain(error)
            self._give_back(machine)

    def _give_back(self, machine: Rented) -> None:
        try:
            self._provider.release([machine.name])
        except ProviderError as error:
            # It ends by itself as well, since no node runs there; so does its row, in time.
            self._complain(error)
