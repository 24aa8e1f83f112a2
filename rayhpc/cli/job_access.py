"""Shared by the commands for existing jobs: finding jobs, querying them, and printing rows.

Used by `jobs`, `logs`, `explain`, `wait`, `cancel`, `attach`, `exec`, `forward` and `submit`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from rayhpc.batch import folder as job_folders
from rayhpc.batch.errors import UnknownJobError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import JobStatus
from rayhpc.batch.registry import system
from rayhpc.batch.selectors import select, select_one
from rayhpc.batch.system import Jobs
from rayhpc.cli.saying import say as say

F = TypeVar("F", bound=Callable[..., Any])

job_dir_option = click.option(
    "--job-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of all jobs' folders; default: RAYHPC_JOBS or ~/.local/state/rayhpc/jobs.",
)
here_option = click.option("--here", hidden=True, is_flag=True, help="Already on the head's node.")
port_forward_option = click.option(
    "-p",
    "--port-forward",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    help="A port to reach at this machine's localhost (clusters; repeatable).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
selectors_argument = click.argument("jobs", nargs=-1, metavar="[last|all|ID|ID_TASK|FROM-TO]...")


def chosen(words: Sequence[str], job_dir: Path | None) -> list[JobFolder]:
    """The job folders that `words` select."""
    return select(job_folders.folders(job_folders.jobs_base(os.environ, job_dir)), words)


def every(job_dir: Path | None) -> list[JobFolder]:
    """The folders of all jobs, oldest first; it is no error if there are none."""
    return job_folders.folders(job_folders.jobs_base(os.environ, job_dir))


def the_one(word: str | None, job_dir: Path | None) -> JobFolder:
    """The one folder that `word` selects; without a word, the latest."""
    return select_one(job_folders.folders(job_folders.jobs_base(os.environ, job_dir)), word)


def one_cluster(word: str | None, job_dir: Path | None) -> JobFolder:
    """The one job, or array task, that `word` selects: something with a cluster of its own.

    Raises UnknownJobError if it selects several, including an array of several tasks.
    """
    folder = the_one(word, job_dir)
    record = folder.record()
    if not record.array:
        return folder
    if len(record.array) > 1:
        raise UnknownJobError(
            f"job {record.id} is an array, and each of its {len(record.array)} tasks has a cluster "
            f"of its own: name one, as {record.id}_{record.array[0]}"
        )
    return folder.of_task(record.array[0])


def jobs_of(folder: JobFolder) -> Jobs:
    """The interface of the batch system that this job was submitted to."""
    return system(folder.record().scheduler).jobs()


def by_system(folders: Sequence[JobFolder]) -> list[tuple[Jobs, list[JobFolder]]]:
    """The same folders grouped by batch system, so that each is asked once."""
    groups: dict[str, list[JobFolder]] = {}
    for folder in folders:
        groups.setdefault(folder.record().scheduler, []).append(folder)
    return [(system(name).jobs(), members) for name, members in groups.items()]


def statuses(folders: Sequence[JobFolder]) -> dict[JobFolder, JobStatus | None]:
    """The state of each; None for a job that the batch system no longer knows."""
    found: dict[JobFolder, JobStatus | None] = {}
    for jobs, members in by_system(folders):
        asked = jobs.status(members)
        found.update({each: asked.get(each.record().id) for each in members})
    return found


def print_json(value: Any) -> None:
    """Print JSON, for programs."""
    click.echo(json.dumps(value, indent=2))
