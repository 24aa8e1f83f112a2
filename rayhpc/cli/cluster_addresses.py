"""`rayhpc get-head-ip` and `get-worker-ips`: addresses on standard output and nothing else."""

from __future__ import annotations

import click

from rayhpc.cli.cluster_access import cluster_argument, find


@click.command("get-head-ip")
@cluster_argument
def get_head_ip(cluster: str) -> None:
    """Print how the head's machine is reached from here."""
    click.echo(find(cluster).hosts()[0].login)


@click.command("get-worker-ips")
@cluster_argument
def get_worker_ips(cluster: str) -> None:
    """Print the machines on which workers' nodes run, one on a line."""
    chosen = find(cluster)
    with chosen.launcher(chosen.hosts()[1:], quiet=True) as launcher:
        found = launcher.ask_all()
    for name, each in found.items():
        if each.alive:
            click.echo(name)
