"""`rayhpc exec`: run a command on the node of a job's head, beside the job's program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from rayhpc.cli.attach import become, job_address
from rayhpc.cli.job_access import job_dir_option, jobs_of, one_cluster


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("--here", hidden=True, is_flag=True, help="Already on the head's node.")
@job_dir_option
@click.argument("job", metavar="last|ID|ID_TASK")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(here: bool, job_dir: Path | None, job: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on the node of a job's head, connected to its cluster.

    \b
    rayhpc exec last -- python look.py
    rayhpc exec 12_3 -- hostname            of task 3 of the array job 12
    """
    words = list(command[1:] if command[0] == "--" else command)
    if here:
        os.environ["RAYHPC_ADDRESS"] = job_address(job)
        become(words)
    folder = one_cluster(job, job_dir)
    inner = [*folder.record().rayhpc, "exec", "--here", folder.record().id, "--", *words]
    become(jobs_of(folder).on_head(folder, inner, terminal=sys.stdin.isatty()))
