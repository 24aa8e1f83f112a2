"""The commands for clusters of `rayhpc up` on Kubernetes.

Implements `cluster_kinds.Verbs`.  What runs on the head's machine runs in its pod.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from rayhpc.cli import elastic_status
from rayhpc.cli import growing_cluster as growing
from rayhpc.cli.cluster_access import Cluster
from rayhpc.clusters.plan import Action, Wishes
from rayhpc.elastic.types import MachineState
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.kubernetes.errors import KubernetesError
from rayhpc.kubernetes.exec import run_in_pod
from rayhpc.launch.kubernetes_cluster import KubernetesCluster, kubernetes_cluster

_AT_HEAD = ("rayhpc", "_machine", "at", "auto", "--")
_OTHERWISE = "Kubernetes; use kubectl"
_RECEIVE = (
    'd=$(mktemp -d) && head -c "$1" >"$d/$2" && shift && f=$d/$1 && shift && exec python "$f" "$@"'
)


# -- coming and going ----------------------------------------------------------------------------
def up(cluster: Cluster, wishes: Wishes, *, dry_run: bool, yes: bool) -> int:
    """Start the head; workers come as work waits."""
    made = _made(cluster)
    action, why = _plan(made, wishes)
    where = f"namespace {made.client.namespace} of {made.client.access.server}"
    growing.show(
        f"cluster {made.name}, provider kubernetes, {where}",
        (action, f"{made.head_job}: {why}"),
        [(each, "") for each in made.growth.types],
        f"{made.growth.most} workers at most, each a Job with one pod",
    )
    if dry_run:
        return 0
    return growing.bring_up(
        cluster, made, action, yes=yes, check=made.check_rights, has_shell=False
    )


def _plan(made: KubernetesCluster, wishes: Wishes) -> tuple[Action, str]:
    job, pod = made.head()
    if job is None:
        return Action.START, "it does not run"
    if job.is_over:
        return Action.RESTART, "it has ended"
    if pod is None:
        return Action.RESTART, "an `up` was interrupted"
    return growing.change(made.changed(job), wishes, f"it runs in pod {pod.metadata.name}")


def down(cluster: Cluster, *, workers_only: bool, keep: bool, yes: bool) -> int:
    """End the head, and all that its Job owns."""
    growing.refuse_halves(workers_only, keep)
    made = _made(cluster)
    where = f"in namespace {made.client.namespace}"
    question = f"End cluster {cluster.name} {where}, its head and all workers?"
    return growing.take_down(cluster, made, question, yes=yes)


# -- looking -------------------------------------------------------------------------------------
def show_status(cluster: Cluster, as_json: bool) -> int:
    """Every machine as Kubernetes has it, and the cluster as its head sees it."""
    made = _made(cluster)
    rows = made.rows()
    runs = any(row.is_head and row.seen.state is MachineState.RUNNING for row in rows)
    words = ["rayhpc", "status", *(["--json"] if as_json else [])]
    page = _answer(made, words) if runs else ""
    if as_json:
        machines = [
            {"machine": x.name, "head": x.is_head, "pod": x.pod, "state": x.seen.state.value}
            | {"reason": x.seen.reason}
            for x in rows
        ]
        value = {"cluster": cluster.name, "machines": machines, "head": json.loads(page or "null")}
        click.echo(json.dumps(value, indent=2))
    else:
        click.echo(f"cluster {cluster.name}, {cluster.file.source}")
        width = max((len(row.name) for row in rows), default=0)
        for row in rows:
            pod, why = row.pod or "no pod", f": {row.seen.reason}" if row.seen.reason else ""
            click.echo(f"  {row.name:{width}}  {row.seen.state.value:8} {pod}{why}")
        click.echo(page, nl=False)
    return 0 if runs else int(ExitCode.TOO_FEW_NODES)


def explain(cluster: Cluster, as_json: bool) -> int:
    """Why there are no more nodes: the planner's sentences, and Kubernetes' own words."""
    made = _made(cluster)
    rows = made.rows()
    lines = [f"Kubernetes on {x.name}: {x.seen.reason}" for x in rows if x.seen.reason]
    if any(row.is_head and row.seen.state is MachineState.RUNNING for row in rows):
        page = _answer(made, ["rayhpc", "status", "--json"])
        lines = [*elastic_status.sentences(page), *lines]
    else:
        lines = [f"the head is not running: `rayhpc up {cluster.name}`", *lines]
    return growing.show_reasons(cluster, lines, as_json)


def resume(cluster: Cluster, node_type: str) -> int:
    """By a command beside the head."""
    return _run(_made(cluster), ["rayhpc", "resume", node_type])


def head_ip(cluster: Cluster) -> str:
    """Its pod's."""
    return _made(cluster).head_pod().status.pod_ip


def worker_ips(cluster: Cluster) -> list[str]:
    """Of the pods that run."""
    rows = _made(cluster).rows()
    alive = [x for x in rows if not x.is_head and x.seen.state is MachineState.RUNNING]
    return [row.seen.address for row in alive if row.seen.address]


# -- in the head's pod ---------------------------------------------------------------------------
def exec_on(
    cluster: Cluster, words: Sequence[str], switches: set[str], ports: Sequence[int]
) -> int:
    """One word is shell text, several are a program and its arguments."""
    growing.refuse(switches, ports, _OTHERWISE)
    code = _run(_made(cluster), growing.command_of(words))
    if "--stop" in switches:
        down(cluster, workers_only=False, keep=False, yes=True)
    return code


def submit_to(cluster: Cluster, words: Sequence[str], switches: set[str]) -> int:
    """The script goes along, into the head's pod, and runs there."""
    growing.refuse(switches, (), _OTHERWISE)
    script, *arguments = words
    try:
        text = Path(script).read_bytes()
    except OSError as error:
        raise LaunchError(f"{script}: {error.strerror}", ExitCode.CONFIGURATION) from None
    name = os.path.basename(script)
    command = ["bash", "-c", _RECEIVE, "bash", str(len(text)), name, *arguments]
    code = _run(_made(cluster), command, text)
    if "--stop" in switches:
        down(cluster, workers_only=False, keep=False, yes=True)
    return code


def attach_to(cluster: Cluster, *, tmux: bool, screen: bool, ports: Sequence[int]) -> NoReturn:
    """Kubernetes' own command does that better."""
    made = _made(cluster)
    pod = made.head_pod().metadata.name
    inner = shlex.join([*_AT_HEAD, "bash", "-i"])
    raise LaunchError(
        f"attach is not served on Kubernetes yet: `kubectl -n {made.client.namespace} exec -it "
        f"{pod} -- bash -lc {shlex.quote(inner)}`",
        ExitCode.CONFIGURATION,
    )


def follow_logs(cluster: Cluster, lines: int) -> NoReturn:
    """The head's output, until it ends."""
    made = _made(cluster)
    pod = made.head_pod().metadata.name
    try:
        for line in made.client.log(pod, follow=True, last=lines):
            click.echo(line.decode(errors="replace"))
    except KubernetesError as error:
        raise LaunchError(f"Kubernetes: {error}", ExitCode.SCHEDULER) from None
    sys.exit(0)


def rsync(cluster: Cluster, *, up: bool) -> NoReturn:
    """Not served."""
    made = _made(cluster)
    pod = made.head_pod().metadata.name
    raise LaunchError(
        f"files are not copied to pods yet: `kubectl -n {made.client.namespace} cp` with {pod}, or "
        "a volume in node_config",
        ExitCode.CONFIGURATION,
    )


# -- small things --------------------------------------------------------------------------------
def _made(cluster: Cluster) -> KubernetesCluster:
    return kubernetes_cluster(cluster.file, os.environ)


def _run(made: KubernetesCluster, words: Sequence[str], data: bytes = b"") -> int:
    """Run a command in the head's pod, with its output here; returns its exit code."""
    sys.stdout.flush()
    output = {1: sys.stdout.buffer, 2: sys.stderr.buffer}

    def take(channel: int, piece: bytes) -> None:
        output[channel].write(piece)
        output[channel].flush()

    return _in_pod(made, words, data, take)


def _answer(made: KubernetesCluster, words: Sequence[str]) -> str:
    """What a command of ours prints there."""
    taken: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
    code = _in_pod(made, words, b"", lambda channel, piece: taken[channel].extend(piece))
    if code != 0:
        said = taken[2].decode(errors="replace").strip()
        raise LaunchError(f"the head says: {said}", ExitCode.HEAD_LOST)
    return taken[1].decode(errors="replace")


def _in_pod(made: KubernetesCluster, words: Sequence[str], data: bytes, take: Any) -> int:
    pod = made.head_pod().metadata.name
    # A login shell finds what set-up commands have put on its PATH.
    command = ["bash", "-lc", f"exec {shlex.join([*_AT_HEAD, *words])}"]
    try:
        return run_in_pod(made.client, pod, command, data, take)
    except KubernetesError as error:
        raise LaunchError(f"Kubernetes: {error}", ExitCode.SCHEDULER) from None
