"""`rayhpc attach`: a Python shell on the node of a job's head, connected to its cluster.

Called by users on any machine with the batch system; calls itself again, with `--here`, on the
head's node.  Replaces itself with the Python it starts.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from rayhpc.cli.become import become
from rayhpc.cli.cluster_names import is_cluster
from rayhpc.cli.job_access import (
    here_option,
    job_dir_option,
    jobs_of,
    one_cluster,
    port_forward_option,
    say,
)
from rayhpc.exit_codes import ExitCode, LaunchError

_CONNECT = """
import rayhpc, rayhpc as ray
ray.init(address={address!r})
print("connected to {address}; `ray` is rayhpc")
"""


@click.command()
@click.argument("job", required=False, metavar="[last|ID|ID_TASK|CLUSTER.YAML|NAME]")
@click.option("--tmux", is_flag=True, help="In a tmux that outlives the connection (clusters).")
@click.option("--screen", is_flag=True, help="In a screen, likewise (clusters).")
@port_forward_option
@here_option
@job_dir_option
def attach(
    job: str | None,
    tmux: bool,
    screen: bool,
    ports: tuple[int, ...],
    here: bool,
    job_dir: Path | None,
) -> None:
    """Open a Python shell connected to a running job's cluster.

    Of a cluster that `rayhpc up` has made: open a shell on its head's machine.
    """
    if here:
        _become_python(job_address(job or ""))
    if job is not None and is_cluster(job):
        from rayhpc.cli.on_head import attach_to

        attach_to(job, tmux=tmux, screen=screen, forwards=ports)
    if tmux or screen or ports:
        raise click.UsageError("--tmux, --screen and -p are for clusters that `rayhpc up` has made")
    folder = one_cluster(job, job_dir)
    command = [*folder.record().rayhpc, "attach", "--here", folder.record().id]
    become(jobs_of(folder).on_head(folder, command, terminal=sys.stdin.isatty()))


def job_address(job_id: str) -> str:
    """The head's address for a job that runs on this node.

    Raises LaunchError if it has none here, or none yet.
    """
    from rayhpc.batch.detect import around
    from rayhpc.launch import sessions

    # Inside a job its own id counts: for an array task it may differ from the one the user gave.
    own = around(os.environ).job_id(os.environ) or job_id
    heads = [each for each in sessions.living(os.environ) if each.is_head and each.job == own]
    if not heads:
        raise LaunchError(
            f"job {job_id} has no running head on this node: it is starting, has ended, or ran "
            "without rayhpc (`rayhpc jobs` shows its state)",
            ExitCode.HEAD_LOST,
        )
    return heads[0].address


def _become_python(address: str) -> NoReturn:
    os.environ["RAYHPC_ADDRESS"] = address
    start = _CONNECT.format(address=address)
    say(f"the cluster at {address}; Ctrl-D leaves it, and the job continues")
    # On piped input IPython would ask for confirmation at the end.
    if sys.stdin.isatty() and importlib.util.find_spec("IPython") is not None:
        become([sys.executable, "-m", "IPython", "--no-banner", "-i", "-c", start])
    become([sys.executable, "-i", "-c", start])
