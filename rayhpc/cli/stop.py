"""`rayhpc stop`: end this user's sessions on this machine, and nothing else."""

from __future__ import annotations

import os

import click

from rayhpc.cli.option_types import Seconds


@click.command()
@click.option("--session", metavar="DIR", help="Only this session (its directory or name).")
@click.option("--address", metavar="HOST:PORT", help="Only sessions of the cluster with this head.")
@click.option(
    "--grace",
    type=Seconds(zero=True),
    default=30.0,
    show_default=True,
    help="Seconds until remaining processes are killed.",
)
def stop(session: str | None, address: str | None, grace: float) -> int:
    """End your sessions on this machine.

    Only processes recorded by one of your sessions, by pid and start time, are signalled.
    Ending a head's session ends its cluster.
    """
    from rayhpc.exit_codes import ExitCode
    from rayhpc.launch import leftovers, start_stop

    chosen = start_stop.chosen_sessions(os.environ, session=session, address=address)
    problems = start_stop.stop_sessions(chosen, grace)
    for path in leftovers.sweep(os.environ):
        click.echo(f"Removed the remains of a dead session: {path}")
    for record in chosen:
        role = "the head's node" if record.is_head else "a node"
        click.echo(f"Stopped {role} of the cluster at {record.address or '(starting)'}.")
    if not chosen:
        click.echo("You have no session running on this machine.")
    for sentence in problems:
        click.echo(f"rayhpc: {sentence}", err=True)
    return int(ExitCode.INTERNAL) if problems else 0
