"""`rayhpc monitor`: the head's logs of a launched cluster, as they are written."""

from __future__ import annotations

import click

from rayhpc.cli.cluster_access import cluster_argument
from rayhpc.cli.on_head import follow_logs


@click.command()
@click.option(
    "--lines", type=click.IntRange(0), default=100, show_default=True, help="Of the past."
)
@cluster_argument
def monitor(cluster: str, lines: int) -> None:
    """Follow the head's logs; Ctrl-C leaves them, and the cluster runs on."""
    follow_logs(cluster, lines)
