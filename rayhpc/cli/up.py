"""`rayhpc up`: create a cluster from Ray's YAML, or bring it up to date."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace

import click
import msgspec

from rayhpc.cli import handing_over, staying
from rayhpc.cli.cluster_access import (
    Cluster,
    cluster_argument,
    complain,
    confirm,
    find,
    refuse_unserved,
    remembered,
    tell,
    worst_code,
    yes_option,
)
from rayhpc.cli.cluster_kinds import verbs_of
from rayhpc.cli.rented import rows_of
from rayhpc.cli.saying import say
from rayhpc.clusters.bring_up import BringUp, Outcome
from rayhpc.clusters.cloud_plan import cloud_rows
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.launcher import Launcher
from rayhpc.clusters.plan import Action, Found, Row, Wanted, Wishes, make_plan
from rayhpc.clusters.record import RecordFolder
from rayhpc.exit_codes import ExitCode, LaunchError


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be done to each machine, and why.")
@click.option("--no-restart", is_flag=True, help="Do not restart nodes that run.")
@click.option("--restart-only", is_flag=True, help="Restart every node without setting it up.")
@click.option("--min-workers", type=click.IntRange(0), help="Instead of the file's.")
@click.option("--max-workers", type=click.IntRange(0), help="Instead of the file's.")
@click.option(
    "--stay",
    is_flag=True,
    help="Then add workers by demand and end idle ones, until this command is ended (clouds).",
)
@click.option("--cluster-name", "-n", metavar="NAME", help="Instead of the file's.")
@yes_option
@cluster_argument
def up(
    cluster: str,
    dry_run: bool,
    no_restart: bool,
    restart_only: bool,
    min_workers: int | None,
    max_workers: int | None,
    stay: bool,
    cluster_name: str | None,
    yes: bool,
) -> int:
    """Create or update a cluster of machines, as Ray's YAML describes it.

    \b
    rayhpc up cluster.yaml --dry-run     what would be done, and why
    rayhpc up cluster.yaml -y
    """
    if no_restart and restart_only:
        raise click.UsageError("--no-restart and --restart-only exclude each other")
    chosen = _with_options(find(cluster), min_workers, max_workers, cluster_name)
    for sentence in chosen.file.ignored:
        say(sentence)
    if stay and chosen.rental_kind is None:
        raise click.UsageError("--stay is for clusters whose machines are made for them (clouds)")
    wishes = Wishes(no_restart, restart_only)
    verbs = verbs_of(chosen)
    if verbs is not None:
        return verbs.up(chosen, wishes, dry_run=dry_run, yes=yes)
    if chosen.rental_kind is not None:
        if dry_run:
            return _dry_run_rented(chosen, wishes)
        return _up_rented(chosen, wishes, yes, stay)
    refuse_unserved(chosen.file)
    if dry_run:
        return _dry_run(chosen, wishes, *_chosen_hosts(chosen))
    with chosen.folder.locked():
        return _bring_up(chosen, wishes, yes, *_chosen_hosts(chosen))


def _up_rented(cluster: Cluster, wishes: Wishes, yes: bool, stay: bool) -> int:
    """First the machines are made, then they are as those of a list."""
    rental = cluster.rental()
    with cluster.folder.locked(), handing_over.taken_back(cluster, rental):
        plan = rental.plan()
        rows = rows_of(rental, plan)
        if rows:
            _show(cluster, rows)
            confirm("Go ahead?", yes)
        rental.hosts(plan.keep)  # before anything is done: their key must be here
        cluster.folder.write(remembered(cluster, []))
        there, failed = rental.obtain(plan)
        hosts = rental.hosts(there)
        patience_s = staying.PATIENCE_S if plan.ask else 0.0
        yes = yes or bool(rows)
        code = _bring_up(cluster, wishes, yes, hosts, [], failed, patience_s=patience_s)
        if not stay:
            handing_over.hand_over(cluster, rental)
    return staying.stay(cluster, rental) if stay and code == 0 else code


def _dry_run_rented(cluster: Cluster, wishes: Wishes) -> int:
    """What its place has; where that cannot be asked, what the file alone says."""
    try:
        rental = cluster.rental()
        plan = rental.plan()
    except LaunchError as error:
        say(str(error))
        _show(cluster, cloud_rows(cluster.file.config))
        return 0
    kept = [each for each in plan.keep if each.login]
    rows = rows_of(rental, plan)
    code = 0
    if kept:
        code = _dry_run(cluster, wishes, rental.hosts(kept), [], rows)
    else:
        _show(cluster, rows)
    return code


def _dry_run(
    cluster: Cluster,
    wishes: Wishes,
    hosts: Sequence[Host],
    surplus: Sequence[Host],
    more: Sequence[Row] = (),
) -> int:
    with cluster.launcher([*hosts, *surplus], quiet=True) as launcher:
        _, _, rows = _plan(launcher, hosts, surplus, wishes)
    _show(cluster, [*rows, *more])
    known = all(row.action is not Action.UNKNOWN for row in rows)
    return 0 if known else int(ExitCode.TOO_FEW_NODES)


def _bring_up(
    cluster: Cluster,
    wishes: Wishes,
    yes: bool,
    hosts: Sequence[Host],
    surplus: Sequence[Host],
    failed: Sequence[LaunchError] = (),
    *,
    patience_s: float = 0.0,
) -> int:
    """Carry out the plan; `failed` are machines that were wanted and could not be had."""
    with cluster.launcher([*hosts, *surplus], patience_s=patience_s) as launcher:
        cluster.folder.write(remembered(cluster, [*hosts, *surplus]))
        wanted, found, rows = _plan(launcher, hosts, surplus, wishes)
        _show(cluster, rows)
        if rows[0].action is Action.UNKNOWN:
            raise LaunchError(
                f"the head's machine {rows[0].name}: {rows[0].why}", ExitCode.HEAD_LOST
            )
        if not failed and not any(row.acts or row.action is Action.UNKNOWN for row in rows):
            say(f"cluster {cluster.name} is as its file says")
            _explain(cluster, hosts)
            return 0
        confirm("Go ahead?", yes)
        with launcher.cluster_lock():
            work = BringUp(launcher, wanted, tell)
            outcomes = work.run(rows, found)
        _remember(cluster, hosts, [x for x in surplus if found[x.name].trouble], work.address)
    return _report(cluster, hosts, outcomes, work.address, failed)


def _remember(
    cluster: Cluster, hosts: Sequence[Host], unknown: Sequence[Host], address: str
) -> None:
    """What it has now; machines that it has no more are forgotten once they could be asked."""
    before = cluster.folder.read()
    after = remembered(cluster, [*hosts, *unknown])
    after.conditions = before.conditions if before is not None else {}
    after.address = address
    cluster.folder.write(after)


def _plan(
    launcher: Launcher, hosts: Sequence[Host], surplus: Sequence[Host], wishes: Wishes
) -> tuple[list[Wanted], dict[str, Found], list[Row]]:
    wanted = launcher.wanted(hosts)
    found = launcher.ask_all()
    return wanted, found, make_plan(wanted, [each.name for each in surplus], found, wishes)


def _chosen_hosts(cluster: Cluster) -> tuple[list[Host], list[Host]]:
    """The machines that are to have a node, and the others that may have one."""
    config = cluster.file.config
    hosts = cluster.hosts()
    head, workers = hosts[0], hosts[1:]
    least = len(workers) if config.min_workers is None else config.min_workers
    if least > len(workers):
        sentence = f"min_workers is {least}, and the list has {len(workers)} machines for workers"
        raise cluster.file.fault(("min_workers",), sentence)
    count = min(least, len(workers) if config.max_workers is None else config.max_workers)
    if count < len(workers):
        say(
            f"{count} of {len(workers)} workers: machines of a list are started by `up` alone, not "
            "by demand; --min-workers starts more"
        )
    chosen = [head, *workers[:count]]
    return chosen, [*workers[count:], *cluster.hosts_gone(hosts)]


def _with_options(
    cluster: Cluster, least: int | None, most: int | None, name: str | None
) -> Cluster:
    config = cluster.file.config
    if least is not None:
        config = msgspec.structs.replace(config, min_workers=least)
    if most is not None:
        config = msgspec.structs.replace(config, max_workers=most)
    folder, before = cluster.folder, cluster.record
    if name is not None:
        config = msgspec.structs.replace(config, cluster_name=name)
        folder = RecordFolder(os.environ, name)
        before = folder.read()
    return Cluster(replace(cluster.file, config=config), folder, before)


def _show(cluster: Cluster, rows: Sequence[Row]) -> None:
    """The plan, on standard output."""
    kind = cluster.file.config.provider_type
    click.echo(f"cluster {cluster.name}, provider {kind}:")
    width = max(len(row.name) for row in rows)
    for row in rows:
        role = "head" if row.is_head else "worker"
        click.echo(f"  {row.name:{width}}  {role:6}  {row.action.value:11}  {row.why}")


def _report(
    cluster: Cluster,
    hosts: Sequence[Host],
    outcomes: Sequence[Outcome],
    address: str,
    failed: Sequence[LaunchError] = (),
) -> int:
    for missing in failed:
        complain(missing, [])
    for each in outcomes:
        if each.error is not None:
            complain(each.error, each.error.tail)
    errors = [*failed, *(each.error for each in outcomes if each.error is not None)]
    running = sum(each.error is None and each.row.action is not Action.STOP for each in outcomes)
    if not address:
        say(f"the head of cluster {cluster.name} does not run")
        return worst_code([x.error for x in outcomes if x.error and x.row.is_head] or errors)
    others = "" if not errors else f", {len(errors)} not: `rayhpc up` tries them again"
    wanted = len(hosts) + len(failed)
    click.echo(f"Cluster {cluster.name}: {running} of {wanted} nodes run{others}.")
    _explain(cluster, hosts)
    return worst_code(errors) if errors else 0


def _explain(cluster: Cluster, hosts: Sequence[Host]) -> None:
    name = cluster.name
    whom = f"{hosts[0].user}@" if hosts[0].user else ""
    port = f" -p {hosts[0].port}" if hosts[0].port else ""
    key = cluster.auth.ssh_private_key
    identity = f" -i {shlex.quote(os.path.expanduser(key))}" if key else ""
    click.echo(
        f"To run a program on it:     rayhpc submit {name} script.py\n"
        f"To run a command:           rayhpc exec {name} 'python script.py'\n"
        f"To log in to its head:      rayhpc attach {name}\n"
        f"    or:                     ssh{port}{identity} {whom}{hosts[0].login}\n"
        f"To see it, and to end it:   rayhpc status {name}; rayhpc down {name}"
    )
