"""`rayhpc exec`: run a command on the node of a job's head, beside the job's program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from rayhpc.cli.attach import job_address
from rayhpc.cli.become import become
from rayhpc.cli.cluster_names import is_cluster
from rayhpc.cli.job_access import (
    here_option,
    job_dir_option,
    jobs_of,
    one_cluster,
    port_forward_option,
)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("--start", is_flag=True, help="Bring the cluster up first (clusters).")
@click.option("--stop", is_flag=True, help="End the cluster afterwards (clusters).")
@click.option("--tmux", is_flag=True, help="In the background, in a tmux (clusters).")
@click.option("--screen", is_flag=True, help="In the background, in a screen (clusters).")
@port_forward_option
@here_option
@job_dir_option
@click.argument("job", metavar="last|ID|ID_TASK|CLUSTER.YAML|NAME")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    start: bool,
    stop: bool,
    tmux: bool,
    screen: bool,
    ports: tuple[int, ...],
    here: bool,
    job_dir: Path | None,
    job: str,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND on the node of a job's head, connected to its cluster.

    \b
    rayhpc exec last -- python look.py
    rayhpc exec 12_3 -- hostname            of task 3 of the array job 12
    rayhpc exec cluster.yaml 'python look.py | sort'
    """
    given = {"--start": start, "--stop": stop, "--tmux": tmux, "--screen": screen}
    switches = {name for name, is_given in given.items() if is_given}
    if not here and is_cluster(job):
        from rayhpc.cli.on_head import exec_on

        return exec_on(job, command, switches, ports)
    if switches or ports:
        listed = ", ".join(sorted(switches)) or "-p"
        raise click.UsageError(f"{listed}: only for clusters that `rayhpc up` has made")
    words = list(command[1:] if command[0] == "--" else command)
    return _of_job(job, words, here, job_dir)


def _of_job(job: str, words: list[str], here: bool, job_dir: Path | None) -> NoReturn:
    if here:
        os.environ["RAYHPC_ADDRESS"] = job_address(job)
        become(words)
    folder = one_cluster(job, job_dir)
    inner = [*folder.record().rayhpc, "exec", "--here", folder.record().id, "--", *words]
    become(jobs_of(folder).on_head(folder, inner, terminal=sys.stdin.isatty()))
