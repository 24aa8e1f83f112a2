"""`rayhpc cancel`: end jobs, with one call to each batch system."""

from __future__ import annotations

from pathlib import Path

import click

from rayhpc.batch.job_status import JobStatus
from rayhpc.cli.job_access import (
    by_system,
    chosen,
    job_dir_option,
    json_option,
    print_json,
    say,
    selectors_argument,
)


@click.command()
@selectors_argument
@job_dir_option
@json_option
def cancel(jobs: tuple[str, ...], job_dir: Path | None, as_json: bool) -> None:
    """Cancel jobs that are queued or running."""
    cancelled: list[str] = []
    ended: list[JobStatus] = []
    for batch, members in by_system(chosen(jobs, job_dir)):
        known = batch.status(members)
        over = {job_id for job_id, status in known.items() if status.state.ended}
        left = [folder for folder in members if folder.record().id not in over]
        if left:
            batch.cancel(left)
        cancelled += [folder.record().id for folder in left]
        ended += [status for job_id, status in known.items() if job_id in over]
    if as_json:
        print_json({"cancelled": cancelled, "ended": [status.id for status in ended]})
        return
    if cancelled:
        say(f"told to end: {', '.join(cancelled)}")
    for status in ended:
        code = "" if status.exit_code is None else f" with exit code {status.exit_code}"
        say(f"job {status.id} has already ended: {status.state.value}{code}")
