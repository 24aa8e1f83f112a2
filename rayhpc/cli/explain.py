"""`rayhpc explain`: why a job is pending, and what would start sooner."""

from __future__ import annotations

import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import click

from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import Explanation, State
from rayhpc.cli import elastic_status
from rayhpc.cli.cluster_names import is_cluster
from rayhpc.cli.job_access import (
    chosen,
    job_dir_option,
    jobs_of,
    json_option,
    print_json,
)
from rayhpc.exit_codes import ExitCode, LaunchError

_ASK_S = 60.0
# A word of a job script, or a string in an application's YAML.
_GROWS = re.compile(r'(?<![^\s"])--elastic(?![^\s"])')


@click.command()
@click.argument("jobs", nargs=-1, metavar="[CLUSTER.YAML|NAME]|[last|all|ID|ID_TASK|FROM-TO]...")
@job_dir_option
@json_option
@click.pass_context
def explain(
    context: click.Context, /, jobs: tuple[str, ...], job_dir: Path | None, as_json: bool
) -> None:
    """Say why a job is pending or how it ended, and what would start sooner.

    Of a cluster that `rayhpc up` has made and that grows: why it has no more nodes; on a cloud, how
    each of its machines fares, in the place's own words.
    """
    if len(jobs) == 1 and is_cluster(jobs[0]):
        context.exit(_of_cluster(jobs[0], as_json))
    found = [(folder, _of_job(folder)) for folder in chosen(jobs, job_dir)]
    if as_json:
        print_json([{"id": folder.record().id, **asdict(each)} for folder, each in found])
        return
    for _, explanation in found:
        for sentence in (*explanation.why, *explanation.sooner):
            click.echo(sentence)


def _of_job(folder: JobFolder) -> Explanation:
    """What its batch system says, and, while it runs and grows, why it has no more nodes."""
    jobs = jobs_of(folder)
    found = jobs.explain(folder)
    record = folder.record()
    if not _GROWS.search(folder.script.read_text(errors="replace")):
        return found
    status = jobs.status([folder]).get(record.id)
    if status is None or status.state is not State.RUNNING:
        return found
    words = [*record.rayhpc, "exec", "--here", record.id, "--", *record.rayhpc, "status", "--json"]
    try:
        done = subprocess.run(
            jobs.on_head(folder, words, terminal=False),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_ASK_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return replace(found, why=[*found.why, f"its head cannot be asked why: {error}"])
    if done.returncode != 0:
        return found
    return replace(found, why=[*found.why, *elastic_status.sentences(done.stdout)])


def _of_cluster(word: str, as_json: bool) -> int:
    from rayhpc.cli.cluster_access import find
    from rayhpc.cli.cluster_kinds import verbs_of

    cluster = find(word)
    verbs = verbs_of(cluster)
    if verbs is not None:
        return verbs.explain(cluster, as_json)
    if cluster.rental_kind is not None:
        from rayhpc.cli import rented

        return rented.explain(cluster, as_json)
    raise LaunchError(
        f"cluster {cluster.name} asks for no nodes: it is a list of machines, and `rayhpc status "
        f"{cluster.name}` says how each fares",
        ExitCode.CONFIGURATION,
    )
