"""`rayhpc get-head-ip` and `get-worker-ips`: addresses on standard output and nothing else."""

from __future__ import annotations

import click

from rayhpc.cli.cluster_access import cluster_argument, find
from rayhpc.cli.cluster_kinds import verbs_of


@click.command("get-head-ip")
@cluster_argument
def get_head_ip(cluster: str) -> None:
    """Print how the head's machine is reached from here."""
    chosen = find(cluster)
    verbs = verbs_of(chosen)
    click.echo(verbs.head_ip(chosen) if verbs is not None else chosen.hosts()[0].login)


@click.command("get-worker-ips")
@cluster_argument
def get_worker_ips(cluster: str) -> None:
    """Print the machines on which workers' nodes run, one on a line."""
    chosen = find(cluster)
    verbs = verbs_of(chosen)
    if verbs is not None:
        for address in verbs.worker_ips(chosen):
            click.echo(address)
        return
    hosts = chosen.hosts()
    with chosen.launcher(hosts, quiet=True) as launcher:  # the head may be the way to them
        found = launcher.ask_all()
    for host in hosts[1:]:
        if found[host.name].alive:
            click.echo(host.name)
