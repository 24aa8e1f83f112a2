"""`rayhpc logs`: a job's output, and the logs of its nodes.

Reads the job's folder.  Asks the batch system only while following, and seldom then.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from rayhpc.batch.folder import JobFolder
from rayhpc.batch.tail import Tail, last_lines
from rayhpc.batch.terminal import emit
from rayhpc.cli import late_report
from rayhpc.cli.job_access import (
    job_dir_option,
    jobs_of,
    json_option,
    print_json,
    say,
    the_one,
)

_OF_A_RANK = re.compile(r"\d{5}-(?P<host>.+)-[^-]+")


@click.command()
@click.argument("job", required=False, metavar="[last|ID|ID_TASK]")
@click.option("--follow", "-f", is_flag=True, help="Keep printing until the job ends.")
@click.option("--lines", "-n", type=click.IntRange(min=0), help="Only the last lines of each file.")
@click.option("--task", type=int, help="For an array: the task's number, as in ID_TASK.")
@click.option("--node", metavar="NAME", help="A node's log instead, or `all` of them.")
@job_dir_option
@json_option
@click.pass_context
def logs(
    context: click.Context,
    job: str | None,
    follow: bool,
    lines: int | None,
    task: int | None,
    node: str | None,
    job_dir: Path | None,
    as_json: bool,
) -> None:
    """Show a job's output."""
    folder = the_one(job if task is None else f"{job or 'last'}_{task}", job_dir)
    tasks = [folder]
    if folder.task is None:
        tasks = [folder.of_task(each) for each in folder.record().array] or tasks
    if node is not None:
        files = _node_logs(folder, node)
    else:
        files = [each.output(stream) for each in tasks for stream in ("stdout", "stderr")]
    if as_json:
        print_json({"id": folder.record().id, "files": [str(path) for path in files]})
        return
    if follow and node is None and len(tasks) == 1:
        code = jobs_of(folder).follow(tasks[0], say)
        late_report.begin(tasks[0])
        context.exit(code)
    jobs_of(folder).fetch_output(folder, say)
    for path in files:
        stream = "stderr" if path.name.startswith("stderr") else "stdout"
        if len(files) > 2 or node == "all":
            emit("stdout", f"==> {path.name} <==\n".encode())
        _print(path, stream, lines)


def _print(path: Path, stream: str, lines: int | None) -> None:
    if lines is not None:
        emit(stream, last_lines(path, lines))
        return
    tail = Tail(path)
    while found := tail.read():
        emit(stream, found)
    tail.close()


def _node_logs(folder: JobFolder, node: str) -> list[Path]:
    there = sorted(folder.node_logs.rglob("*.log"))
    chosen = [path for path in there if node in ("all", _host_of(path))]
    if not chosen:
        names = ", ".join(dict.fromkeys(map(_host_of, there))) or "none yet"
        raise click.UsageError(f"no log of node {node!r}; choose from {names}")
    return chosen


def _host_of(path: Path) -> str:
    """`node1` of `00000-node1-raylet.log`; nodes on this machine are named by their address."""
    found = _OF_A_RANK.fullmatch(path.stem)
    return found["host"] if found else path.stem
