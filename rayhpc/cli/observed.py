"""Which cluster a live view is about, and the way to its head's node.

Used by `top` and `dashboard`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from rayhpc.cli import showing
from rayhpc.cli.attach import job_address
from rayhpc.cli.become import become
from rayhpc.cli.job_access import every, jobs_of, one_cluster
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.sessions import SessionNotFoundError

if TYPE_CHECKING:
    from rayhpc.batch.folder import JobFolder
    from rayhpc.launch.sessions import SessionRecord

# A tenth of the weight of a process that works; less would make keys slow on a busy node.
_NICE = 10

job_argument = click.argument("job", required=False, metavar="[last|ID|ID_TASK]")
address_option = click.option(
    "--address", metavar="HOST:PORT", help="The cluster there (auto: yours on this node)."
)


def session(
    job: str | None,
    address: str | None,
    here: bool,
    job_dir: Path | None,
    words: list[str],
    is_screen: bool,
) -> SessionRecord:
    """The session on this machine; for a job elsewhere this process turns into one there.

    Args:
        job: the job, as the user names it (None: none is named).
        address: the head's (None: not given).
        here: this is the head's node, and `job` the job's own id.
        job_dir: where the jobs' folders are (None: the usual place).
        words: the command to run there, without the job.
        is_screen: whether it needs a terminal of its own.

    Raises:
        LaunchError: there is no such job, or it has no cluster.
        SessionNotFoundError: there is no such cluster here.
        UsageError: both a job and an address are given.
    """
    if job and address:
        raise click.UsageError("give JOB or --address, not both")
    if here:
        return showing.chosen_session(job_address(job or ""))
    found = _here(address, job_dir) if job is None else None
    if found is None:
        _go_there(one_cluster(job, job_dir), words, is_screen and sys.stdin.isatty())
    return found


def give_way() -> None:
    """Let the cluster's processes go first, on whose node this one looks."""
    os.nice(_NICE)


def time_limit() -> float:
    """When this process's allocation ends, in seconds since 1970; 0: never, or it is in none."""
    from rayhpc.batch.detect import around
    from rayhpc.machine.facts import read_machine

    try:
        return around(os.environ).facts(os.environ, read_machine(os.environ)).end_time.value or 0.0
    except ValueError:  # `rayhpc doctor` says which variable is wrong
        return 0.0


def _go_there(folder: JobFolder, words: list[str], terminal: bool) -> NoReturn:
    command = [*folder.record().rayhpc, *words, "--here", folder.record().id]
    become(jobs_of(folder).on_head(folder, command, terminal=terminal))


def _here(address: str | None, job_dir: Path | None) -> SessionRecord | None:
    """The session here; None if there is none, and there are jobs that may have one elsewhere."""
    try:
        return showing.chosen_session(address)
    except SessionNotFoundError:
        if address or not every(job_dir):
            raise
        return None


def check_private(folder: Path) -> None:
    """See that a directory is this user's alone.

    Raises:
        LaunchError: it is not.
    """
    facts = folder.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise LaunchError(
            f"others can enter {folder}: put the socket into a directory of your own "
            "(mkdir -m 700)",
            ExitCode.CONFIGURATION,
        )
