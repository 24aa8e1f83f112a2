"""`rayhpc explain`: why a job is pending, and what would start sooner."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from rayhpc.cli.job_access import (
    chosen,
    job_dir_option,
    jobs_of,
    json_option,
    print_json,
    selectors_argument,
)


@click.command()
@selectors_argument
@job_dir_option
@json_option
def explain(jobs: tuple[str, ...], job_dir: Path | None, as_json: bool) -> None:
    """Say why a job is pending or how it ended, and what would start sooner."""
    found = [(folder, jobs_of(folder).explain(folder)) for folder in chosen(jobs, job_dir)]
    if as_json:
        print_json([{"id": folder.record().id, **asdict(each)} for folder, each in found])
        return
    for _, explanation in found:
        for sentence in (*explanation.why, *explanation.sooner):
            click.echo(sentence)
