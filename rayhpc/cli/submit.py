"""`rayhpc submit`: from a command to its result, on nodes of a batch system or of this machine.

Renders a script, submits it, and follows the job to its end.  Starts nothing itself except what
the `local` batch system runs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rayhpc.batch import folder as job_folders
from rayhpc.batch import values
from rayhpc.batch.choose import choose
from rayhpc.batch.errors import OptionError
from rayhpc.batch.folder import JobFolder, JobRecord
from rayhpc.batch.registry import names
from rayhpc.batch.rendering import inside
from rayhpc.batch.request import JobRequest
from rayhpc.batch.system import BatchSystem, Jobs
from rayhpc.cli import late_report
from rayhpc.cli.cluster_names import is_cluster
from rayhpc.cli.job_access import job_dir_option, json_option, print_json, say
from rayhpc.cli.submit_options import job_options, request_from
from rayhpc.exit_codes import ExitCode
from rayhpc.providers import registry as providers

# Stands in a script that is only shown for the folder that a real one gets.
_NO_FOLDER = "JOB"


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--scheduler", "told", type=click.Choice(names()), help="Default: the one found.")
@click.option("--profile", metavar="NAME", help="Profile to use; `none` for no profile.")
@job_options
@click.option("--dry-run", is_flag=True, help="Print the script without submitting it.")
@click.option("--test", is_flag=True, help="Ask whether and when it would run; submit nothing.")
@click.option("--detach", is_flag=True, help="Submit and return at once.")
@click.option("--start", is_flag=True, help="Bring the cluster up first (clusters of `up`).")
@click.option("--stop", is_flag=True, help="End the cluster afterwards (clusters of `up`).")
@click.option("--tmux", is_flag=True, help="In the background, in a tmux (clusters of `up`).")
@job_dir_option
@json_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def submit(
    told: str | None,
    profile: str | None,
    dry_run: bool,
    test: bool,
    detach: bool,
    start: bool,
    stop: bool,
    tmux: bool,
    job_dir: Path | None,
    as_json: bool,
    command: tuple[str, ...],
    **_: Any,
) -> None:
    """Run COMMAND on nodes of a batch system, or on several nodes on this machine.

    \b
    rayhpc submit --nodes 8 --time 30 -- python train.py --epochs 3
    rayhpc submit train.py          takes options from its #RAYHPC lines
    rayhpc submit cluster.yaml train.py --epochs 3     on a cluster that `rayhpc up` has made
    """
    context = click.get_current_context()
    given = {"--start": start, "--stop": stop, "--tmux": tmux}
    switches = {name for name, is_given in given.items() if is_given}
    if len(command) > 1 and is_cluster(command[0]):
        from rayhpc.cli.on_head import submit_to

        context.exit(submit_to(command[0], command[1:], switches))
    if switches:
        listed = ", ".join(sorted(switches))
        raise click.UsageError(f"{listed}: only for clusters that `rayhpc up` has made")
    choice = choose(os.environ, told)
    jobs = choice.system.jobs()
    request = request_from(context, command, os.environ, profile, say)
    _check_growth(request, choice.system)
    base = job_folders.jobs_base(os.environ, job_dir)
    if dry_run or test:
        script = jobs.render(request, JobFolder(base / _NO_FOLDER))
        _show(script, as_json) if dry_run else _ask(jobs, script, as_json)
        return
    for note in (f"scheduler {choice.system.name} ({choice.why})", *jobs.notes(request)):
        say(note)
    folder = _submit(jobs, request, base, detach)
    if as_json and detach:
        print_json(
            {"id": folder.record().id, "folder": str(folder.path), "scheduler": choice.system.name}
        )
    if not detach:
        context.exit(_follow(jobs, folder, as_json))


def _check_growth(request: JobRequest, system: BatchSystem) -> None:
    """Refuse a job that is to grow where nothing gives a running job more nodes."""
    if request.max_nodes is None or system.name in providers.names():
        return
    able = ", ".join(sorted({*names()} & {*providers.names()}))
    raise OptionError(
        f"--nodes {request.nodes}:{request.max_nodes}: {system.title} gives a running job no more "
        f"nodes (these can: {able}); give one number"
    )


def _show(script: str, as_json: bool) -> None:
    if as_json:
        print_json({"script": script})
    else:
        click.echo(script, nl=False)


def _ask(jobs: Jobs, script: str, as_json: bool) -> None:
    answer = jobs.test(script)
    if as_json:
        print_json({"accepted": True, "answer": answer})
    else:
        click.echo(answer)


def _submit(jobs: Jobs, request: JobRequest, base: Path, detach: bool) -> JobFolder:
    """Create the folder, render and submit; if the job is rejected nothing is left behind."""
    if detach and not jobs.system.outlives_submit:
        raise OptionError(
            "--detach needs a batch system: here the job ends with this command; start it with & "
            "or nohup instead"
        )
    folder = job_folders.create(base)
    try:
        folder.set_record(
            JobRecord(
                scheduler=jobs.system.name,
                name=request.name,
                command=list(request.command),
                nodes=request.nodes,
                submitted=time.time(),
                array=values.array_tasks(request.array) if request.array else [],
                output=_absolute(request),
                rayhpc=inside(request),
            )
        )
        script = jobs.render(request, folder)
        job_id = jobs.submit(request, folder, script)
    except OSError as error:
        _remove(folder)
        raise OptionError(
            f"{error.filename or folder.path}: {error.strerror}; make room there, or name another "
            "place that the nodes can see with --job-dir"
        ) from error
    except BaseException:
        _remove(folder)
        raise
    folder.set_id(job_id)
    say(f"job {job_id}, folder {folder.path}")
    return folder


def _absolute(request: JobRequest) -> str | None:
    if request.output is None:
        return None
    return os.path.join(request.work_dir, request.output)


def _remove(folder: JobFolder) -> None:
    import shutil

    shutil.rmtree(folder.path, ignore_errors=True)


def _follow(jobs: Jobs, folder: JobFolder, as_json: bool) -> int:
    try:
        code = jobs.follow(folder, say)
    except KeyboardInterrupt:
        return _leave_or_cancel(jobs, folder)
    late_report.begin(folder)
    if as_json:
        print_json({"id": folder.record().id, "folder": str(folder.path), "exit_code": code})
    return code


def _leave_or_cancel(jobs: Jobs, folder: JobFolder, ask: Callable[[], str] | None = None) -> int:
    """On Ctrl-C: do not end the job without asking."""
    job_id = folder.record().id
    answer = "leave"
    if sys.stdin.isatty():
        answer = (ask or _prompt)()
    if answer == "cancel":
        jobs.cancel([folder])
        say(f"job {job_id} is cancelled")
        return int(ExitCode.CANCELLED)
    say(f"job {job_id} continues: `rayhpc logs -f {job_id}` follows it, `rayhpc cancel {job_id}`")
    return 128 + 2


def _prompt() -> str:
    try:
        return str(
            click.prompt(
                "\nleave the job running, or cancel it?",
                type=click.Choice(["leave", "cancel"]),
                default="leave",
                err=True,
            )
        )
    except (click.Abort, KeyboardInterrupt):
        return "leave"
