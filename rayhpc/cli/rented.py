"""`up` and `down` of a cluster whose provider makes its machines (clouds), and which those are.

Called by `up`, `down` and `cluster_access`.  The provider makes and ends machines; what happens on
them is the same as for a list of machines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from rayhpc.cli.cluster_access import Cluster, confirm, tell
from rayhpc.cli.saying import say
from rayhpc.clusters import renting
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.machine_plan import (
    HEAD,
    MachinePlan,
    MachineTypes,
    is_head,
    machine_types,
    plan_machines,
)
from rayhpc.clusters.node_types import max_workers
from rayhpc.clusters.plan import Action, Row
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.providers.base import ProviderError
from rayhpc.providers.machines import MachineProvider, Rented


class Rental:
    """A cluster's machines at their place.

    Args:
        cluster: which; its provider is one that makes machines.

    Raises:
        OptionError: its file has an option that the provider does not know, or a package is
            missing.
    """

    def __init__(self, cluster: Cluster) -> None:
        kind = cluster.rental_kind
        assert kind is not None
        config = cluster.file.config
        self.cluster = cluster
        self.title = kind.title
        self.types: MachineTypes = machine_types(cluster.file)
        self.most = max_workers(config)
        self.provider: MachineProvider = kind.rent(cluster.name, config.provider, self.types.all)

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
            f"cluster {self.cluster.name} has no head at {self.title}{there}: `rayhpc up` brings "
            "it up, `rayhpc down` ends the rest",
            ExitCode.HEAD_LOST,
        )

    def hosts(self, machines: Sequence[Rented]) -> list[Host]:
        """Machines as the launcher sees them.  Raises LaunchError where their key is not here."""
        cluster = self.cluster
        key = cluster.auth.ssh_private_key or ""
        if machines and not Path(key).expanduser().exists():
            raise LaunchError(
                f"the key of cluster {cluster.name} is not here ({key}): go to the machine that "
                "has brought it up; `rayhpc down` works from anywhere",
                ExitCode.PERMISSION,
            )
        return [renting.host_of(x, cluster.file.config, cluster.auth) for x in machines]

    def obtain(self, plan: MachinePlan) -> tuple[list[Rented], list[LaunchError]]:
        """End and ask for what the plan says, and wait until it is there.

        Returns:
            The machines that are there now, the head first, and a failure for each other.

        Raises:
            LaunchError: there will be no head.
        """
        if plan.end:
            for machine, why in plan.end:
                tell(machine.name, f"ended: {why}")
            renting.end_all(self.provider, [machine.name for machine, _ in plan.end])
        try:
            asked, failed = self._ask(plan.ask)
        except LaunchError:
            if not plan.keep:
                # Nothing is there: neither stays what was made for it, as far as we may remove it.
                with suppress(ProviderError):
                    renting.remove_the_rest(self.provider)
                _forget(self.cluster)
            raise
        # An `up` before this one may not have waited for those that it had asked for.
        ready = [x for x in plan.keep if x.state is MachineState.RUNNING and x.login]
        coming = [each.name for each in plan.keep if each not in ready]
        there, lost = renting.wait_until_there(self.provider, [*coming, *asked], tell)
        for error in lost:
            if error.name.startswith(f"{HEAD}-"):
                raise error
        found = [*ready, *there.values()]
        return sorted(found, key=lambda each: not is_head(each)), [*failed, *lost]

    def _prepare(self) -> None:
        config = self.cluster.file.config
        if all("KeyName" in kind.options for kind in self.types.all):
            return  # the user's own, known there
        key = Path(self.cluster.auth.ssh_private_key or "").expanduser()
        if config.auth.ssh_private_key is None:
            self.cluster.folder.make()
            renting.make_own_key(self.cluster.folder.path, self.cluster.name)
        self.provider.prepare(renting.public_key(key))

    def _ask(self, wanted: Sequence[tuple[str, NodeType]]) -> tuple[list[str], list[LaunchError]]:
        """The head first: without it nothing else is asked for.  Raises LaunchError."""
        asked: list[str] = []
        failed: list[LaunchError] = []
        if wanted:
            self._prepare()
        for name, kind in wanted:
            tell(name, "is asked for")
            try:
                renting.ask(self.provider, kind, name)
                asked.append(name)
            except ProviderError as error:
                if kind is self.types.head:
                    raise
                failed.append(renting.MachineError(name, str(error)))
        return asked, failed


def rows_of(rental: Rental, plan: MachinePlan) -> list[Row]:
    """What is asked for and ended, as rows of the plan that is shown."""
    rows = []
    for name, kind in plan.ask:
        what = kind.options.get("InstanceType") or "of the default type"
        why = f"a machine is asked for: {what}"
        rows.append(Row(name, kind.name, kind is rental.types.head, Action.START, why, True, True))
    for machine, why in plan.end:
        row = Row(machine.name, machine.node_type, is_head(machine), Action.STOP, why)
        rows.append(row)
    return rows


def down(cluster: Cluster, *, workers_only: bool, keep: bool, yes: bool) -> int:
    """End its machines, and what it has beside them."""
    rental = Rental(cluster)
    living = rental.living()
    ending = living
    if workers_only:
        ending = [each for each in living if not is_head(each)]
    elif keep:
        ending = _beyond_least(rental, living)
    whole = not (workers_only or keep)
    if not ending and not whole:
        say(f"cluster {cluster.name} has no machine to end")
        return 0
    with cluster.folder.locked():
        if ending:
            listed = ", ".join(f"{x.name} ({x.identity})" for x in ending)
            confirm(f"End {listed} of cluster {cluster.name} at {rental.title}?", yes)
            renting.end_all(rental.provider, [each.name for each in ending])
        left = renting.remove_the_rest(rental.provider) if whole else []
        if whole and not left:
            _forget(cluster)
    count = f"{len(ending)} machine{'s' * (len(ending) != 1)} ended"
    rest = f"; nothing of it is left at {rental.title}" if whole and not left else ""
    click.echo(f"Cluster {cluster.name}: {count}{rest}.")
    if left:
        say(f"still there: {', '.join(left)}; run `rayhpc down` again")
    return int(ExitCode.SCHEDULER) if left else 0


def explain(cluster: Cluster, as_json: bool) -> int:
    """How each machine fares, those that ended lately too, in the place's own words."""
    rental = Rental(cluster)
    rows = [
        {"machine": x.name, "identity": x.identity, "why": rental.provider.explain(x.name)}
        for x in rental.provider.list()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        click.echo(f"{row['machine']} ({row['identity']}): {row['why']}")
    if not rows:
        say(f"cluster {cluster.name} has no machine at {rental.title}")
    return 0


def _beyond_least(rental: Rental, living: Sequence[Rented]) -> list[Rented]:
    """The workers above each type's least number, the newest of them."""
    found: list[Rented] = []
    for kind in rental.types.workers:
        mine = [x for x in living if x.node_type == kind.name and not is_head(x)]
        found += mine[kind.min_nodes :]
    return found


def _forget(cluster: Cluster) -> None:
    cluster.folder.remove_record()
    key = renting.own_key_path(cluster.folder.path)
    for path in (key, key.with_name(f"{key.name}.pub"), cluster.folder.known_hosts):
        path.unlink(missing_ok=True)
