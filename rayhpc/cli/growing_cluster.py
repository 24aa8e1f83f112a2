"""What the commands have in common for clusters that grow by themselves, wherever their nodes are.

Used by `batch_cluster` and `kubernetes_cluster`.  Here is how `up` and `down` go, what is said of a
plan, and what a command on the head's machine may be; where that is, those two know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import click

from rayhpc.cli.cluster_access import Cluster, confirm, remembered
from rayhpc.cli.saying import say
from rayhpc.clusters.plan import Action, Wishes
from rayhpc.elastic.types import NodeType
from rayhpc.exit_codes import LaunchError
from rayhpc.launch.growth_file import GrowthFile

Say = Callable[[str], None]
#: Name, role, what happens, and more about it.
_Row = tuple[str, str, str, str]


class Growing(Protocol):
    """A cluster whose head asks for its workers.  What it does raises LaunchError."""

    @property
    def growth(self) -> GrowthFile:
        """How it grows."""

    def start(self, say: Say) -> str:
        """Start the head and wait until it serves; returns its address."""

    def end(self, say: Say) -> None:
        """End the head and all machines."""

    def is_there(self) -> bool:
        """Whether something of it has been made, or may have been."""


def change(changed: bool, wishes: Wishes, runs: str) -> tuple[Action, str]:
    """What `up` does to a head that is there, and why.

    Args:
        changed: its file is another than it was started with.
        wishes: what the user wants besides.
        runs: how it fares, as the first half of a sentence.
    """
    if wishes.restart_only:
        return Action.RESTART, "--restart-only"
    if not changed:
        return Action.KEEP, f"{runs}, and nothing has changed"
    if wishes.no_restart:
        return Action.KEEP, "the file has changed, but --no-restart"
    return Action.RESTART, "the file has changed; programs on the cluster end"


def show(
    title: str, head: tuple[Action, str], workers: Iterable[tuple[NodeType, str]], end: str
) -> None:
    """Print a plan.

    Args:
        title: which cluster, and where.
        head: what happens to its head, and why.
        workers: its nodes' types, and what such a node is; that may be empty.
        end: the last line.
    """
    rows: list[_Row] = [("head", "head", head[0].value, head[1])]
    for each, what in workers:
        text = f"as work waits, idle for {each.idle_seconds:g} s at most"
        text += f": {what}" if what else ""
        rows.append((each.name, "worker", f"{each.min_nodes} to {each.max_nodes}", text))
    width, wider = max(len(row[0]) for row in rows), max(len(row[2]) for row in rows)
    click.echo(f"{title}:")
    for name, role, what, text in rows:
        click.echo(f"  {name:{width}}  {role:6}  {what:{wider}}  {text}".rstrip())
    click.echo(f"  {end}")


def bring_up(
    cluster: Cluster,
    made: Growing,
    action: Action,
    *,
    yes: bool,
    check: Callable[[], None] = lambda: None,
    has_shell: bool = True,
) -> int:
    """Do what the plan says; workers come as work waits.

    Args:
        cluster: which one the user named.
        made: what it is.
        action: START, RESTART or KEEP.
        yes: do not ask.
        check: raises LaunchError for what would fail half-way; nothing has happened then.
        has_shell: `rayhpc attach` is served.
    """
    with cluster.folder.locked():
        if action is Action.KEEP:
            say(f"cluster {cluster.name} is as its file says")
        else:
            confirm("Go ahead?", yes)
            check()
            cluster.folder.write(remembered(cluster, []))
            if action is Action.RESTART:
                made.end(say)
            click.echo(f"Cluster {cluster.name}: its head serves at {_start(cluster, made)}.")
    name = cluster.name
    attach = f"To get a shell there:       rayhpc attach {name}\n" if has_shell else ""
    click.echo(
        f"To run a program on it:     rayhpc submit {name} script.py\n"
        f"To run a command:           rayhpc exec {name} 'python script.py'\n"
        f"{attach}"
        f"To see it, and to end it:   rayhpc status {name}; rayhpc down {name}"
    )
    return 0


def _start(cluster: Cluster, made: Growing) -> str:
    """Start the head; a new cluster of which nothing could be made is forgotten."""
    try:
        return made.start(say)
    except LaunchError:
        if cluster.record is None and not made.is_there():
            cluster.folder.remove_record()
        raise


def refuse_halves(workers_only: bool, keep: bool) -> None:
    """Raises UsageError for a `down` of workers alone."""
    if workers_only or keep:
        raise click.UsageError(
            "--workers-only and --keep-min-workers are for lists of machines: here workers leave "
            "when they are idle, down to min_workers"
        )


def take_down(cluster: Cluster, made: Growing, question: str, *, yes: bool) -> int:
    """End everything of it, also of one that is half there, once the question is answered."""
    with cluster.folder.locked():
        confirm(question, yes)
        made.end(say)
        cluster.folder.remove_record()
    click.echo(f"Cluster {cluster.name}: nothing of it is left.")
    return 0


def show_reasons(cluster: Cluster, lines: Sequence[str], as_json: bool) -> int:
    """Print why there are no more nodes."""
    lines = lines or ["nothing waits for more nodes than there are"]
    if as_json:
        click.echo(json.dumps({"cluster": cluster.name, "why": lines}, indent=2))
    else:
        click.echo("\n".join(lines))
    return 0


def command_of(words: Sequence[str]) -> list[str]:
    """One word is shell text, several are a program and its arguments."""
    return ["bash", "-c", words[0]] if len(words) == 1 else list(words)


def refuse(switches: set[str], ports: Sequence[int], otherwise: str) -> None:
    """Raises UsageError for what is not served: `otherwise` says where, and what else helps."""
    unserved = switches - {"--start", "--stop"}
    if unserved or ports:
        listed = ", ".join(sorted(unserved)) or "-p"
        raise click.UsageError(f"{listed}: not for clusters on {otherwise}")
