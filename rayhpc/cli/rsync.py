"""`rayhpc rsync-up` and `rsync-down`: files to and from a launched cluster's machines.

Named as in Ray; they need no rsync on either side.
"""

from __future__ import annotations

from pathlib import Path

import click

from rayhpc.cli.cluster_access import Cluster, cluster_argument, complain, find, worst_code
from rayhpc.cli.cluster_kinds import verbs_of
from rayhpc.clusters.copying import fetch, send
from rayhpc.clusters.machine import Machine
from rayhpc.clusters.remote.trouble import RemoteError
from rayhpc.clusters.transfer import Mount


@click.command("rsync-up")
@cluster_argument
@click.argument("source", required=False, type=click.Path(exists=True))
@click.argument("target", required=False)
@click.option("-A", "--all-nodes", is_flag=True, help="To the workers' machines, too.")
def rsync_up(cluster: str, source: str | None, target: str | None, all_nodes: bool) -> int:
    """Copy SOURCE to TARGET on the head's machine; without them, the file's file_mounts."""
    if (source is None) != (target is None):
        raise click.UsageError("give SOURCE and TARGET, or neither")
    chosen = find(cluster)
    verbs = verbs_of(chosen)
    if verbs is not None:
        return verbs.rsync(chosen, up=True)
    hosts = chosen.hosts()
    mounts = [Mount(target, source)] if source is not None and target is not None else None
    with chosen.launcher(hosts if all_nodes else hosts[:1]) as launcher:
        wanted = mounts or list(launcher.stages(hosts[0]).mounts)

        def copy(machine: Machine) -> RemoteError | None:
            try:
                launcher.open(machine)
                for mount in wanted:
                    done = send(machine.connection, mount, launcher.patterns)
                    if done.code != 0:
                        sentence = f"{mount.theirs} cannot be written (exit code {done.code})"
                        return RemoteError(machine.host.name, sentence, tail=done.tail)
            except RemoteError as error:
                return error
            return None

        errors = [each for each in launcher.on_all(launcher.machines, copy).values() if each]
    for error in errors:
        complain(error, error.tail)
    return worst_code(errors) if errors else 0


@click.command("rsync-down")
@cluster_argument
@click.argument("source", required=False)
@click.argument("target", required=False, type=click.Path(path_type=Path))
def rsync_down(cluster: str, source: str | None, target: Path | None) -> int:
    """Copy SOURCE on the head's machine to TARGET here; without them, the file's file_mounts."""
    if (source is None) != (target is None):
        raise click.UsageError("give SOURCE and TARGET, or neither")
    chosen = find(cluster)
    verbs = verbs_of(chosen)
    if verbs is not None:
        return verbs.rsync(chosen, up=False)
    with chosen.launcher(chosen.hosts()[:1]) as launcher:
        launcher.open(launcher.head)
        for theirs, ours in _pairs(chosen, source, target):
            fetch(launcher.head.connection, theirs, ours, launcher.patterns)
    return 0


def _pairs(cluster: Cluster, source: str | None, target: Path | None) -> list[tuple[str, Path]]:
    if source is not None and target is not None:
        return [(source, target)]
    mounts = cluster.file.config.file_mounts
    return [(theirs, Mount(theirs, ours).path) for theirs, ours in mounts.items()]
