"""`rayhpc forward`: the one line that forwards a port of a job to a laptop.

Only prints.  Asks the batch system once, for the node's name.
"""

from __future__ import annotations

import getpass
import shlex
import socket
from pathlib import Path

import click

from rayhpc.batch.job_status import State
from rayhpc.batch.registry import system
from rayhpc.cli.job_access import job_dir_option, json_option, one_cluster, print_json, statuses
from rayhpc.exit_codes import ExitCode, LaunchError


@click.command()
@click.argument("job", metavar="last|ID|ID_TASK")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--local-port", type=click.IntRange(1, 65535), help="Port there; default: PORT.")
@click.option("--login", metavar="HOST", help="This machine's name as seen from outside.")
@job_dir_option
@json_option
def forward(
    job: str,
    port: int,
    local_port: int | None,
    login: str | None,
    job_dir: Path | None,
    as_json: bool,
) -> None:
    """Print the ssh command that forwards PORT of a job's head to a laptop."""
    folder = one_cluster(job, job_dir)
    status = statuses([folder])[folder]
    if status is None or status.state is not State.RUNNING:
        word = "unknown" if status is None else status.state.value
        raise LaunchError(f"job {job} is {word}: only a running job has ports", ExitCode.HEAD_LOST)
    host = system(folder.record().scheduler).head_host(status.nodes)
    line = ssh_line(str(port), str(local_port or port), host, login or socket.getfqdn())
    if as_json:
        print_json({"command": line, "url": f"http://localhost:{local_port or port}"})
        return
    click.echo(line)


def ssh_line(place: str, local_port: str, host: str | None, login: str | None) -> str:
    """The command that forwards a port or Unix socket of a node to a laptop.

    Args:
        place: the port there, or the socket's path.
        local_port: the port on the laptop.
        host: the node (None: it is the login node itself).
        login: the login node as seen from the laptop (None: the node is reached directly).
    """
    user = getpass.getuser()
    there = f"localhost:{place}" if place.isdigit() else place
    words = ["ssh", "-N", "-L", f"{local_port}:{there}"]
    if login and host:
        words += ["-J", f"{user}@{login}", f"{user}@{host}"]
    else:
        words.append(f"{user}@{host or login}")
    return shlex.join(words)
