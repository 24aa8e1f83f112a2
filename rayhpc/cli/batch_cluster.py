"""The commands for clusters of `rayhpc up` whose machines are jobs of a batch system.

Implements `cluster_kinds.Verbs`.  What runs on the head's machine runs there as a step of the
head's job, or as a process beside it; the nodes see the user's files, so none are copied.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from rayhpc.batch.rendering import OUR_RAYHPC
from rayhpc.cli import elastic_status
from rayhpc.cli import growing_cluster as growing
from rayhpc.cli.become import become
from rayhpc.cli.cluster_access import Cluster
from rayhpc.clusters.plan import Action, Wishes
from rayhpc.elastic.types import Machine, MachineState
from rayhpc.exit_codes import ExitCode, LaunchError, exit_code_of
from rayhpc.launch.batch_cluster.cluster import BatchCluster, batch_cluster
from rayhpc.launch.batch_cluster.head import Phase

_ASK_S = 60.0
_OTHERWISE = "a batch system; use nohup, or `rayhpc submit` for a job of its own"


# -- coming and going ----------------------------------------------------------------------------
def up(cluster: Cluster, wishes: Wishes, *, dry_run: bool, yes: bool) -> int:
    """Start the head; workers come as work waits."""
    made = _made(cluster)
    found = made.condition()
    if found.phase is Phase.GONE:
        action, why = Action.START, found.why or "it does not run"
    else:
        action, why = growing.change(made.changed(), wishes, f"it is {found.phase.value}")
    words = shlex.join(made.growth.head[: made.growth.head.index("--growth")])
    types = made.growth.types
    growing.show(
        f"cluster {cluster.name}, provider {made.kind.name}",
        (action, f"{made.head.where} {words}".strip() + f": {why}"),
        [(each, shlex.join(made.kind.job_words(each)) or "no options") for each in types],
        f"{made.growth.most} workers at most, each {_machine_of(made)}",
    )
    return 0 if dry_run else growing.bring_up(cluster, made, action, yes=yes)


def down(cluster: Cluster, *, workers_only: bool, keep: bool, yes: bool) -> int:
    """End the head, and every job of the cluster."""
    growing.refuse_halves(workers_only, keep)
    made = _made(cluster)
    question = f"End cluster {cluster.name}, its head {made.head.where} and all workers?"
    return growing.take_down(cluster, made, question, yes=yes)


# -- looking -------------------------------------------------------------------------------------
def show_status(cluster: Cluster, as_json: bool) -> int:
    """The head's condition, and the cluster as it sees it."""
    made = _made(cluster)
    found = made.condition()
    words = ["status", "--json"] if as_json else ["status"]
    page = _answer(made, words) if found.phase is Phase.RUNNING else ""
    if as_json:
        head = {"state": found.phase.value, "where": made.head.where, "why": found.why}
        value = {"cluster": cluster.name, "head": head, "status": json.loads(page or "null")}
        click.echo(json.dumps(value, indent=2))
    else:
        click.echo(f"cluster {cluster.name}, {cluster.file.source}")
        why = f" ({found.why})" if found.why else ""
        click.echo(f"  head {made.head.where}: {found.phase.value}{why}")
        click.echo(page, nl=False)
    return 0 if found.phase is Phase.RUNNING else int(ExitCode.TOO_FEW_NODES)


def explain(cluster: Cluster, as_json: bool) -> int:
    """Why there are no more nodes: the planner's sentences, and the place's own words."""
    made = _made(cluster)
    if made.condition().phase is not Phase.RUNNING:
        lines = made.head.explain() or [f"the head is not running: `rayhpc up {cluster.name}`"]
    else:
        lines = elastic_status.sentences(_answer(made, ["status", "--json"]))
        lines += _place_says(made)
    return growing.show_reasons(cluster, lines, as_json)


def _place_says(made: BatchCluster) -> list[str]:
    """Of each machine that waits, in the place's own words."""
    provider = made.provider()
    if provider is None:
        return made.head.told()
    waiting = [x for x in provider.list() if x.state is MachineState.PENDING]
    return [
        f"{made.kind.title} on {each.name}: {provider.explain(each.name)}"
        for each in _first_of_each(waiting)
    ]


def _machine_of(made: BatchCluster) -> str:
    if made.kind.within_heads_job:
        return f"a part of the head's job on {made.kind.title}"
    return f"a job of {made.kind.title}"


def _first_of_each(machines: Sequence[Machine]) -> list[Machine]:
    """One of each type and reason is enough."""
    return list({(each.node_type, each.reason): each for each in reversed(machines)}.values())


def resume(cluster: Cluster, node_type: str) -> int:
    """By a command beside the head."""
    made = _made(cluster)
    return _run(made, [*OUR_RAYHPC, "resume", node_type], terminal=False)


def head_ip(cluster: Cluster) -> str:
    """As it says itself."""
    return _made(cluster).serving().node_ip


def worker_ips(cluster: Cluster) -> list[str]:
    """As the head sees them."""
    nodes = json.loads(_answer(_made(cluster), ["status", "--json"]))["nodes"]
    return [each["ip"] for each in nodes if each["alive"] and not each["is_head"]]


# -- on the head's machine -----------------------------------------------------------------------
def exec_on(
    cluster: Cluster, words: Sequence[str], switches: set[str], ports: Sequence[int]
) -> int:
    """One word is shell text, several are a program and its arguments."""
    growing.refuse(switches, ports, _OTHERWISE)
    command = growing.command_of(words)
    code = _run(_made(cluster), command, terminal=sys.stdin.isatty())
    if "--stop" in switches:
        down(cluster, workers_only=False, keep=False, yes=True)
    return code


def submit_to(cluster: Cluster, words: Sequence[str], switches: set[str]) -> int:
    """The script lies where the head's machine sees it."""
    script, *arguments = words
    command = [sys.executable, os.path.abspath(script), *arguments]
    return exec_on(cluster, command, switches, ())


def attach_to(cluster: Cluster, *, tmux: bool, screen: bool, ports: Sequence[int]) -> NoReturn:
    """A shell that is connected to the cluster."""
    given = {"--tmux": tmux, "--screen": screen}
    growing.refuse({name for name, is_given in given.items() if is_given}, ports, _OTHERWISE)
    terminal = sys.stdin.isatty()
    become(_connected(_made(cluster), ["bash", *(["-i"] if terminal else [])], terminal=terminal))


def follow_logs(cluster: Cluster, lines: int) -> NoReturn:
    """The session's logs, which are on the head's machine, and what the head has said."""
    made = _made(cluster)
    told = [str(lines), made.serving().session_dir, str(made.head.log())]
    words = [*OUR_RAYHPC, "_machine", "follow", *told]
    become(_connected(made, words, terminal=sys.stdin.isatty()))


def rsync(cluster: Cluster, *, up: bool) -> NoReturn:
    """Nothing to copy, which is said."""
    title = _made(cluster).kind.title
    raise LaunchError(
        f"cluster {cluster.name}: nodes that {title} gives see the same files as this machine, so "
        "nothing is copied: use `cp`",
        ExitCode.CONFIGURATION,
    )


# -- small things --------------------------------------------------------------------------------
def _made(cluster: Cluster) -> BatchCluster:
    return batch_cluster(cluster.file, cluster.folder.path)


def _connected(made: BatchCluster, words: Sequence[str], *, terminal: bool) -> list[str]:
    at = [*OUR_RAYHPC, "_machine", "at", made.serving().address, "--", *words]
    return made.head.command(at, terminal=terminal)


def _run(made: BatchCluster, words: Sequence[str], *, terminal: bool) -> int:
    sys.stdout.flush()
    argv = _connected(made, words, terminal=terminal)
    try:
        return exit_code_of(subprocess.run(argv, check=False).returncode)
    except OSError as error:
        text = f"{argv[0]} cannot be started: {error.strerror}"
        raise LaunchError(text, ExitCode.CONFIGURATION) from None


def _answer(made: BatchCluster, words: Sequence[str]) -> str:
    """What a command of ours prints there."""
    argv = _connected(made, [*OUR_RAYHPC, *words], terminal=False)
    try:
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(
            f"the head's machine cannot be asked: {error}", ExitCode.HEAD_LOST
        ) from None
    if done.returncode != 0:
        raise LaunchError(f"the head's machine says: {done.stderr.strip()}", ExitCode.HEAD_LOST)
    return done.stdout
