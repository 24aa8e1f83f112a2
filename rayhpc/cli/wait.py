"""`rayhpc wait`: wait until jobs have ended, and exit with the highest of their exit codes."""

from __future__ import annotations

from pathlib import Path

import click

from rayhpc.cli import late_report
from rayhpc.cli.job_access import (
    chosen,
    job_dir_option,
    jobs_of,
    json_option,
    print_json,
    say,
    selectors_argument,
)


@click.command()
@selectors_argument
@job_dir_option
@json_option
@click.pass_context
def wait(
    context: click.Context, jobs: tuple[str, ...], job_dir: Path | None, as_json: bool
) -> None:
    """Wait until jobs have ended; the exit code is the job's (the highest of several)."""
    codes: dict[str, int] = {}
    for folder in chosen(jobs, job_dir):
        codes[folder.record().id] = jobs_of(folder).follow(folder, say, quiet=True)
        late_report.begin(folder)
    if as_json:
        print_json([{"id": job_id, "exit_code": code} for job_id, code in codes.items()])
    context.exit(max(codes.values(), default=0))
