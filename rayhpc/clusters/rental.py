"""The machines of a cluster whose provider makes them (clouds): which there are, and to have more.

Created by `cli.cluster_access` for the commands, and by `cli.keeping` on the head's own machine.
The provider makes and ends machines; what happens on them is the same as for a list of machines
(`launcher`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from rayhpc.clusters import renting
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.machine import Tell
from rayhpc.clusters.machine_plan import (
    MachinePlan,
    MachineTypes,
    is_head,
    machine_types,
    plan_machines,
)
from rayhpc.clusters.node_types import max_workers
from rayhpc.clusters.read import ClusterFile
from rayhpc.clusters.record import RecordFolder
from rayhpc.clusters.schema import Auth
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.base import ProviderError
from rayhpc.providers.machines import HEAD, MachineKind, MachineProvider, Rented


class Rental:
    """A cluster's machines at their place.

    Args:
        file: the cluster's file.
        kind: the kind of place.
        auth: how to log in to its machines.
        folder: what is remembered of it here.
        tell: is told what happens to which machine.
        users_key: on the head's own machine: the public key of whoever has brought the cluster up.
            Machines are then logged in to from inside, with a key that the head has made.

    Raises:
        OptionError: its file has an option that the provider does not know, or a package is
            missing.
        LaunchError: the head has no key.
    """

    def __init__(
        self,
        file: ClusterFile,
        kind: MachineKind,
        auth: Auth,
        folder: RecordFolder,
        tell: Tell,
        users_key: str = "",
    ) -> None:
        self._config = config = file.config
        self._auth = auth
        self._folder = folder
        self._tell = tell
        self.name = config.cluster_name
        self.kind = kind
        self.title = kind.title
        self._knows_keys = kind.knows_keys
        self.types: MachineTypes = machine_types(file)
        self.most = max_workers(config)
        self.provider: MachineProvider = kind.rent(self.name, config.provider, self.types.all)
        self._users_key = users_key
        if users_key:
            self.provider.let_in([self.public_key()])

    def living(self) -> list[Rented]:
        """What is there, the head first.  Raises ProviderError."""
        found = [x for x in self.provider.list() if x.state is not MachineState.ENDED]
        return sorted(found, key=lambda each: (not is_head(each), each.name))

    def plan(self) -> MachinePlan:
        """What is to be done.  Raises ProviderError."""
        return plan_machines(self.types, self.most, self.provider.list())

    def hosts_with_head(self) -> list[Host]:
        """The machines that run, the head first.  Raises LaunchError if there is no head."""
        living = self.living()
        running = [x for x in living if x.state is MachineState.RUNNING and x.login and x.address]
        if running and is_head(running[0]):
            return self.hosts(running)
        others = ", ".join(f"{each.name} ({each.identity})" for each in living)
        there = f", only {others}" if others else ""
        raise LaunchError(
            f"cluster {self.name} has no head at {self.title}{there}: `rayhpc up` brings "
            "it up, `rayhpc down` ends the rest",
            ExitCode.HEAD_LOST,
        )

    def hosts(self, machines: Sequence[Rented]) -> list[Host]:
        """Machines as the launcher sees them.  Raises LaunchError where their key is not here."""
        key = self._auth.ssh_private_key or ""
        if machines and not Path(key).expanduser().exists():
            raise LaunchError(
                f"the key of cluster {self.name} is not here ({key}): go to the machine that "
                "has brought it up; `rayhpc down` works from anywhere",
                ExitCode.PERMISSION,
            )
        found = [renting.host_of(x, self._config, self._auth) for x in machines]
        return [renting.from_inside(x) for x in found] if self._users_key else found

    def public_key(self) -> str:
        """The public half of the key that this machine logs in with.  Raises LaunchError."""
        return renting.public_key(Path(self._auth.ssh_private_key or "").expanduser())

    def obtain(self, plan: MachinePlan) -> tuple[list[Rented], list[LaunchError]]:
        """End and ask for what the plan says, and wait until it is there.

        Returns:
            The machines that are there now, the head first, and a failure for each other.

        Raises:
            LaunchError: there will be no head.
        """
        if plan.end:
            for machine, why in plan.end:
                self._tell(machine.name, f"ended: {why}")
            renting.end_all(self.provider, [machine.name for machine, _ in plan.end])
        try:
            asked, failed = self._ask(plan.ask)
        except LaunchError:
            if not plan.keep:
                # Nothing is there: neither stays what was made for it, as far as we may remove it.
                with suppress(ProviderError):
                    renting.remove_the_rest(self.provider)
                renting.forget(self._folder)
            raise
        # An `up` before this one may not have waited for those that it had asked for.
        ready = [x for x in plan.keep if x.state is MachineState.RUNNING and x.login]
        coming = [each.name for each in plan.keep if each not in ready]
        there, lost = renting.wait_until_there(self.provider, [*coming, *asked], self._tell)
        for error in lost:
            if error.name.startswith(f"{HEAD}-"):
                raise error
        found = [*ready, *there.values()]
        return sorted(found, key=lambda each: not is_head(each)), [*failed, *lost]

    def prepare(self) -> None:
        """Have what machines need before they are asked for.  Raises ProviderError."""
        if self._knows_keys and all("KeyName" in kind.options for kind in self.types.all):
            return  # the user's own, known there
        if self._config.auth.ssh_private_key is None:
            self._folder.make()
            renting.make_own_key(self._folder.path, self.name)
        self.provider.prepare(self._users_key or self.public_key(), self._auth.ssh_user or "")

    def _ask(self, wanted: Sequence[tuple[str, NodeType]]) -> tuple[list[str], list[LaunchError]]:
        """The head first: without it nothing else is asked for.  Raises LaunchError."""
        if wanted:
            self.prepare()
        asked: list[str] = []
        failed: list[LaunchError] = []
        for _, group in groupby(wanted, lambda each: id(each[1])):
            pairs = list(group)
            kind = pairs[0][1]
            refused = self._ask_for(kind, [name for name, _ in pairs])
            if refused and kind is self.types.head:
                raise next(iter(refused.values()))
            asked += [name for name, _ in pairs if name not in refused]
            failed += [renting.MachineError(name, str(why)) for name, why in refused.items()]
        return asked, failed

    def _ask_for(self, kind: NodeType, names: Sequence[str]) -> dict[str, ProviderError]:
        """Ask for some of a type; those that cannot be had, and why."""
        for name in names:
            self._tell(name, "is asked for")
        if len(names) > 1:
            try:
                self.provider.ask(kind, names)  # at once: a place may take seconds for each
                return {}
            except ProviderError:
                pass  # whose it is shows when each is asked for again, under its name
        refused: dict[str, ProviderError] = {}
        for name in names:
            try:
                renting.ask(self.provider, kind, name)
            except ProviderError as error:
                refused[name] = error
        return refused
