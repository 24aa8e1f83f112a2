"""`rayhpc cancel`: end jobs, each batch system being told once."""

from __future__ import annotations

from pathlib import Path

import click

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
    folders = chosen(jobs, job_dir)
    for batch, members in by_system(folders):
        batch.cancel(members)
    ids = [folder.record().id for folder in folders]
    if as_json:
        print_json({"cancelled": ids})
    else:
        say(f"told to end: {', '.join(ids)}")
