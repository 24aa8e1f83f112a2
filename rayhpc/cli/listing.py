"""`rayhpc list`, `rayhpc memory`, `rayhpc timeline`: the contents of a running cluster as tables.

Each asks the head and, for what only they know, every raylet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rayhpc.cli import showing
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.wire.address import TASK_ID_BYTES

if TYPE_CHECKING:
    from rayhpc.launch.observer import Observer

Row = dict[str, Any]

_RESOURCES = ("total", "available")
# The width of output that is not a terminal: whatever reads it does not count columns.
_UNBROKEN = 10_000

_ADDRESS = click.option(
    "--address", metavar="HOST:PORT", help="The cluster to ask (default: yours on this node)."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
_LIMIT = click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Rows at most."
)


@click.command(name="list")
@click.argument(
    "kind",
    type=click.Choice(
        ["nodes", "actors", "tasks", "objects", "placement-groups", "jobs", "workers"]
    ),
)
@_ADDRESS
@_LIMIT
@_JSON
def list_(kind: str, address: str | None, limit: int, as_json: bool) -> int:
    """List all entries of one KIND in a cluster."""
    readers: dict[str, Callable[[Observer, int], list[Row]]] = {
        "nodes": _nodes,
        "actors": _actors,
        "tasks": _tasks,
        "objects": _objects,
        "placement-groups": _groups,
        "jobs": _jobs,
        "workers": _workers,
    }
    rows = _ask(address, readers[kind], limit)
    _show(rows[:limit], as_json, len(rows) - limit)
    return 0


@click.command()
@_ADDRESS
@_LIMIT
@_JSON
def memory(address: str | None, limit: int, as_json: bool) -> int:
    """Show the objects in the nodes' stores, largest first."""
    rows = _ask(address, _objects, 10_000)
    rows.sort(key=lambda row: -int(row["size"]))
    _show(rows[:limit], as_json, len(rows) - limit)
    if not as_json:
        total = sum(int(row["size"]) for row in rows)
        click.echo(f"{len(rows)} objects, {showing.size_in_words(total)}")
    return 0


@click.command()
@_ADDRESS
@click.option(
    "--output", "-o", type=click.Path(), default="rayhpc-timeline.json", show_default=True
)
@click.option(
    "--cluster",
    is_flag=True,
    help="Instead: how many nodes a cluster that grows had, and how much waited, over time; as a "
    "picture if the output's name ends in .svg.",
)
def timeline(address: str | None, output: str, cluster: bool) -> int:
    """Write a trace of when each task ran, for chrome://tracing or ui.perfetto.dev."""
    if cluster:
        return _growth(address, output)
    rows = _ask(address, _tasks, 0)
    with open(output, "w") as file:
        json.dump([_trace(row) for row in rows], file)
    click.echo(f"{len(rows)} tasks in {os.path.abspath(output)}")
    return 0


def _growth(address: str | None, output: str) -> int:
    import time

    from rayhpc.cli import elastic_status, growth_picture
    from rayhpc.launch.observer import Observer

    with Observer(showing.chosen_session(address).session_dir) as observer:
        moments = elastic_status.history(observer)
    if not moments:
        raise LaunchError("this cluster keeps its size: it has no such history", ExitCode.REFUSED)
    with open(output, "w") as file:
        if output.endswith(".svg"):
            file.write(growth_picture.svg(moments, time.time()))
        else:
            json.dump(growth_picture.trace(moments), file)
    most = max(each.nodes for each in moments)
    click.echo(f"{len(moments)} changes, up to {most} nodes, in {os.path.abspath(output)}")
    return 0


def _ask(
    address: str | None, reader: Callable[[Observer, int], list[Row]], limit: int
) -> list[Row]:
    from rayhpc.launch.observer import Observer

    with Observer(showing.chosen_session(address).session_dir) as observer:
        return reader(observer, limit)


def _nodes(observer: Observer, _: int) -> list[Row]:
    return [
        {
            "node_id": each.info.node_id,
            "hostname": each.info.hostname,
            "ip": each.info.ip,
            "state": "ALIVE" if each.alive else "DEAD",
            "is_head": each.info.is_head,
            "ended": each.ended,
            "total": each.info.total,
            "available": each.available,
        }
        for each in observer.nodes()
    ]


def _actors(observer: Observer, _: int) -> list[Row]:
    from rayhpc.wire.messages.actors import ActorRow
    from rayhpc.wire.messages.cluster import ListActors

    return [
        {
            "actor_id": each.spec.actor.hex(),
            "class_name": each.spec.class_name,
            "state": each.state,
            "name": each.spec.name,
            "namespace": each.spec.namespace,
            "node_id": each.node_id,
            "pid": each.pid,
            "reason": each.reason,
        }
        for each in observer.ask(ListActors(), list[ActorRow])
    ]


def _groups(observer: Observer, _: int) -> list[Row]:
    from rayhpc.wire.messages.actors import GroupRow
    from rayhpc.wire.messages.cluster import ListGroups

    return [
        {
            "placement_group_id": each.group.hex(),
            "name": each.name,
            "strategy": each.strategy,
            "state": each.state,
            "bundles": each.bundles,
            "nodes": each.nodes,
            "text": each.text,
        }
        for each in observer.ask(ListGroups(), list[GroupRow])
    ]


def _jobs(observer: Observer, _: int) -> list[Row]:
    from rayhpc.wire.messages.cluster import ListJobs
    from rayhpc.wire.messages.listings import JobRow

    return [
        {
            "job": each.job.number,
            "state": "RUNNING" if each.alive else "ENDED",
            "pid": each.job.pid,
            "entrypoint": each.job.entrypoint,
            "started": each.started,
            "ended": each.ended,
            "reason": each.reason,
        }
        for each in observer.ask(ListJobs(), list[JobRow])
    ]


def _workers(observer: Observer, _: int) -> list[Row]:
    from rayhpc.wire.address import raylet_of
    from rayhpc.wire.messages.cluster import Workers
    from rayhpc.wire.messages.listings import WorkerRow

    rows: list[Row] = []
    for node in _living(observer):
        found = observer.ask(Workers(), list[WorkerRow], raylet_of(node.info.number))
        rows += [
            {
                "pid": each.pid,
                "kind": each.kind,
                "state": each.state,
                "job": each.job,
                "actor_id": each.actor.hex(),
                "ip": node.info.ip,
            }
            for each in found
        ]
    return rows


def _tasks(observer: Observer, limit: int) -> list[Row]:
    from rayhpc.wire import runs

    rows: list[Row] = []
    for node in _living(observer):
        pages = _pages(observer, node, limit)
        found = sorted(runs.unpack(pages), key=lambda x: x.started)
        dropped = pages[-1].dropped
        if dropped and not (limit and len(found) >= limit):
            click.echo(f"{dropped:,} older tasks of {node.info.ip} are no longer known", err=True)
        rows += [
            {
                "task_id": each.tid[:TASK_ID_BYTES].hex(),
                "name": each.name,
                "type": each.kind,
                "state": each.state,
                "job": each.job,
                "pid": each.pid,
                "ip": node.info.ip,
                "started": each.started,
                "ended": each.ended,
                "error": each.error,
            }
            for each in found[-limit:]
        ]
    return rows


def _pages(observer: Observer, node: Any, limit: int) -> list[Any]:
    """A raylet's record of the tasks run on its node, at least the last `limit` (0: all)."""
    from rayhpc.wire.address import raylet_of
    from rayhpc.wire.messages.task_runs import RunPage, TaskRuns

    pages: list[RunPage] = []
    question = TaskRuns(limit)
    while True:
        pages += observer.ask(question, list[RunPage], raylet_of(node.info.number))
        if pages[-1].following < 0:
            return pages
        question = TaskRuns(after=pages[-1].following)


def _objects(observer: Observer, limit: int) -> list[Row]:
    from rayhpc.wire.address import raylet_of
    from rayhpc.wire.messages.cluster import StoreObjects
    from rayhpc.wire.messages.listings import ObjectRow

    rows: list[Row] = []
    for node in _living(observer):
        question = StoreObjects(limit)
        found = observer.ask(question, list[ObjectRow], raylet_of(node.info.number))
        rows += [
            {
                "object_id": each.oid.hex(),
                "size": each.size,
                "state": each.state or each.kind,
                "pid": each.pid,
                "ip": node.info.ip,
                "pins": each.count,
            }
            for each in found
        ]
    return rows


def _living(observer: Observer) -> list[Any]:
    return [each for each in observer.nodes() if each.alive]


def _trace(row: Row) -> Row:
    """One complete event in Chrome's trace format; times in microseconds."""
    ended = row["ended"] or row["started"]
    return {
        "name": row["name"],
        "cat": row["type"],
        "ph": "X",
        "ts": row["started"] * 1e6,
        "dur": (ended - row["started"]) * 1e6,
        "pid": row["ip"],
        "tid": row["pid"],
        "args": {"task_id": row["task_id"], "state": row["state"]},
    }


def _show(rows: list[Row], as_json: bool, left_out: int) -> None:
    if as_json:
        plain = [{name: _plain(name, value) for name, value in row.items()} for row in rows]
        click.echo(json.dumps(plain, indent=2))
        return
    if not rows:
        click.echo("none")
        return
    _print([{name: _cell(name, value) for name, value in row.items()} for row in rows])
    if left_out > 0:
        click.echo(f"… and {left_out} more (--limit)")


def _print(rows: list[dict[str, str]]) -> None:
    """Print a table or, where the terminal is too narrow for it, one field per line."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(highlight=False)
    wide = Console(highlight=False, width=_UNBROKEN)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*row.values())
    width = Measurement.get(wide, wide.options, table).maximum
    if width <= console.width or not console.is_terminal:
        wide.print(table)
        return
    for row in rows:
        pairs = Table.grid(padding=(0, 2))
        for name, text in row.items():
            pairs.add_row(name.replace("_", " "), text)
        console.print(pairs, "")


def _plain(name: str, value: Any) -> Any:
    """Resource amounts as numbers, everything else unchanged."""
    if name in _RESOURCES:
        return showing.plain_resources(value)
    return [showing.plain_resources(each) for each in value] if name == "bundles" else value


def _cell(name: str, value: Any) -> str:
    if name in _RESOURCES:
        return showing.demand_in_words(value)
    if name == "bundles":
        return "; ".join(map(showing.demand_in_words, value))
    if name in ("started", "ended") and isinstance(value, float):
        import time

        return time.strftime("%H:%M:%S", time.localtime(value)) if value else "-"
    if name == "size":
        return showing.size_in_words(value)
    if name == "node_id":
        return str(value)[:16]
    return str(value)
