"""`rayhpc down`: end a cluster that `rayhpc up` has made."""

from __future__ import annotations

from contextlib import nullcontext

import click

from rayhpc.cli import rented
from rayhpc.cli.cluster_access import (
    Cluster,
    cluster_argument,
    complain,
    confirm,
    find,
    tell,
    worst_code,
    yes_option,
)
from rayhpc.cli.cluster_kinds import verbs_of
from rayhpc.cli.saying import say
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.record import ClusterRecord, known
from rayhpc.clusters.take_down import take_down


@click.command()
@click.option("--workers-only", is_flag=True, help="Leave the head running.")
@click.option("--keep-min-workers", is_flag=True, help="Leave the head and min_workers workers.")
@yes_option
@cluster_argument
def down(cluster: str, workers_only: bool, keep_min_workers: bool, yes: bool) -> int:
    """End a cluster: its nodes on all its machines, also of one that is only half there."""
    chosen = find(cluster)
    verbs = verbs_of(chosen)
    if verbs is not None:
        return verbs.down(chosen, workers_only=workers_only, keep=keep_min_workers, yes=yes)
    if chosen.rental_kind is not None:
        return rented.down(chosen, workers_only=workers_only, keep=keep_min_workers, yes=yes)
    hosts = chosen.hosts()
    ending = _ending(chosen, hosts, workers_only, keep_min_workers)
    if not ending:
        say(f"cluster {chosen.name} has no node to end")
        return 0
    whole = not (workers_only or keep_min_workers)
    with chosen.folder.locked():
        listed = ", ".join(each.name for each in ending)
        confirm(f"End the nodes of cluster {chosen.name} on {listed}?", yes)
        before = chosen.record
        if before is not None:
            chosen.folder.write(before)
        with chosen.launcher([*hosts, *chosen.hosts_gone(hosts)]) as launcher:
            names = {each.name for each in ending}
            machines = [each for each in launcher.machines if each.host.name in names]
            # A cluster whose head's machine is gone can be ended all the same.
            lock = launcher.cluster_lock() if launcher.open_head() else nullcontext()
            with lock:
                ended = take_down(launcher, machines, tell)
        errors = [each.error for each in ended if each.error is not None]
        for error in errors:
            complain(error, error.tail)
        _remember(chosen, {each.name for each in ended if each.error is None}, whole, errors != [])
    stopped = sum(each.was_there for each in ended)
    click.echo(f"Cluster {chosen.name}: {stopped} node{'s' * (stopped != 1)} ended.")
    if errors:
        say(f"{len(errors)} of {len(ended)} machines did not answer: run `rayhpc down` again")
        return worst_code(errors)
    return 0


def _ending(cluster: Cluster, hosts: list[Host], workers_only: bool, keep: bool) -> list[Host]:
    gone = cluster.hosts_gone(hosts)
    if not (workers_only or keep):
        return [*hosts, *gone]
    kept = 0
    if keep:
        least = cluster.file.config.min_workers
        kept = len(hosts) - 1 if least is None else least
    return [*hosts[1 + kept :], *gone]


def _remember(cluster: Cluster, ended: set[str], whole: bool, failed: bool) -> None:
    """Forget what has ended; a cluster that has ended as a whole is forgotten."""
    found = cluster.folder.read()
    if found is None:
        return
    if whole and not failed:
        cluster.folder.remove_record()
        return
    cluster.folder.write(
        ClusterRecord(
            name=found.name,
            file=found.file,
            text=found.text,
            hosts=[x for x in found.hosts if x.name not in ended or x in _known(cluster)],
            conditions={x: y for x, y in found.conditions.items() if x not in ended},
            address=found.address,
        )
    )


def _known(cluster: Cluster) -> list[object]:
    return [known(each) for each in cluster.hosts()]
