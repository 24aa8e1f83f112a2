"""`rayhpc jobs`: this user's jobs and their states.

Asks the batch system at most once, and only for jobs whose folders do not have the answer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import JobStatus
from rayhpc.cli.job_access import (
    chosen,
    every,
    job_dir_option,
    json_option,
    print_json,
    selectors_argument,
    statuses,
)

_HEADINGS = ("JOB", "NAME", "SCHEDULER", "STATE", "NODES", "SUBMITTED", "REMARK")
# Without a selector only this many of the latest are listed.
_LATEST = 20


@click.command()
@selectors_argument
@job_dir_option
@json_option
def jobs(jobs: tuple[str, ...], job_dir: Path | None, as_json: bool) -> None:
    """List the latest jobs, or the selected ones."""
    folders = chosen(jobs, job_dir) if jobs else every(job_dir)[-_LATEST:]
    found = statuses(folders)
    if as_json:
        print_json([_as_json(folder, found[folder]) for folder in folders])
        return
    if not folders:
        click.echo("no jobs yet; submit one with `rayhpc submit -- python train.py`")
        return
    rows = [_HEADINGS, *(_row(folder, found[folder]) for folder in folders)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())


def _row(folder: JobFolder, status: JobStatus | None) -> tuple[str, ...]:
    record = folder.record()
    submitted = time.strftime("%d %b %H:%M", time.localtime(record.submitted))
    state = "unknown" if status is None else status.state.value
    return (
        record.id or "-",
        record.name,
        record.scheduler,
        state,
        str(record.nodes),
        submitted,
        _remark(status),
    )


def _remark(status: JobStatus | None) -> str:
    if status is None:
        return "the batch system no longer knows it"
    if status.exit_code is not None:
        return f"exit code {status.exit_code}" + (f", {status.reason}" if status.reason else "")
    return status.reason or status.nodes


def _as_json(folder: JobFolder, status: JobStatus | None) -> dict[str, Any]:
    record = folder.record()
    known = {
        "id": record.id,
        "name": record.name,
        "scheduler": record.scheduler,
        "command": record.command,
        "nodes_wanted": record.nodes,
        "submitted": record.submitted,
        "array": record.array,
        "folder": str(folder.path),
    }
    return {**known, "status": None if status is None else status.to_json()}
