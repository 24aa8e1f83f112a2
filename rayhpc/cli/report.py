"""`rayhpc report`: what a program did, as one HTML file that opens anywhere.

Of a job that has ended from the recording in its folder, of a cluster that runs by asking it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayhpc.cli.job_access import job_dir_option, jobs_of, one_cluster
from rayhpc.cli.saying import say
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine import whole_file

if TYPE_CHECKING:
    from rayhpc.batch.folder import JobFolder
    from rayhpc.observe.recording import Recording

_WITHIN_S = 30.0


@click.command()
@click.argument("job", required=False, metavar="[last|ID|ID_TASK]")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; default: report.html in the job's folder, or rayhpc-report.html in "
    "this directory for a cluster; - is standard output.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Report on the running cluster there (auto: yours on this node).",
)
@click.option(
    "--recording",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Report on this recording (a job leaves one in its folder).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON instead.")
@job_dir_option
def report(
    job: str | None,
    output: Path | None,
    address: str | None,
    recording: Path | None,
    as_json: bool,
    job_dir: Path | None,
) -> int:
    """Write one HTML file that shows where a job's time went and what would make it faster.

    The file is self-contained and contacts no host: open it on a laptop or attach it to a mail.
    """
    if sum(x is not None for x in (job, address, recording)) > 1:
        raise click.UsageError("give one of JOB, --address and --recording")
    if recording is not None:
        found, place = _read(recording), recording.with_suffix(".html")
    elif address is not None:
        found, place = _of_cluster(address), Path("rayhpc-report.html")
    else:
        found, place = _of_job(one_cluster(job, job_dir))
    _write(found, output or place, as_json)
    return 0


def _write(found: Recording, place: Path, as_json: bool) -> None:
    import msgspec

    from rayhpc.observe.facts import snapshot
    from rayhpc.observe.page import page
    from rayhpc.observe.views.everything import views

    shown = views(snapshot(found))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    if str(place) == "-":
        sys.stdout.buffer.write(page(shown).encode())
        return
    whole_file.write(place, page(shown).encode())
    say(f"report in {place}")
    for each in shown.advice:
        say(each.finding)


def _read(path: Path) -> Recording:
    from rayhpc.observe.recording import read

    return read(path)


def _of_job(folder: JobFolder) -> tuple[Recording, Path]:
    if folder.recording.name not in folder.names():
        jobs_of(folder).fetch_output(folder, say)
    if folder.recording.name not in folder.names():
        raise LaunchError(_why_none(folder), ExitCode.CONFIGURATION)
    return _read(folder.recording), folder.report


def _why_none(folder: JobFolder) -> str:
    job = folder.record().id
    if folder.summary() is None:
        return (
            f"job {job} has not ended, and is recorded at its end; of one that runs: "
            f"`rayhpc exec {job} -- rayhpc report --address auto`"
        )
    return (
        f"job {job} left no recording: its cluster was lost before it ended, it ran with "
        "--no-report, or with the real Ray"
    )


def _of_cluster(address: str) -> Recording:
    from rayhpc.cli import showing
    from rayhpc.launch import last_look
    from rayhpc.launch.node_config import rayhpc_version
    from rayhpc.launch.observer import Observer
    from rayhpc.observe.recording import JobFacts

    record = showing.chosen_session(address)
    with Observer(record.session_dir) as observer:
        now = time.time()
        started = observer.state().started
        job = JobFacts([], started, now, id=record.job, version=rayhpc_version())
        return last_look.take_down(observer, job, _WITHIN_S)
