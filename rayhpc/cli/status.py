"""`rayhpc status`: what a cluster has, what it is doing, and what is pending."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from rayhpc.cli import elastic_status, showing

if TYPE_CHECKING:
    from rich.console import Console

    from rayhpc.launch.sessions import SessionRecord
    from rayhpc.wire.messages.listings import ClusterState, NodeState

# Resources that only name a node carry no information in a table.
_NAMES_A_NODE = "node:"
_SHOWN_APART = ("CPU", "GPU", "memory", "object_store_memory")


@click.command()
@click.argument("jobs", nargs=-1, metavar="[CLUSTER.YAML|NAME]|[last|all|ID|ID_TASK|FROM-TO]...")
@click.option(
    "--address", metavar="HOST:PORT", help="The cluster to ask (default: yours on this node)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(
    context: click.Context, /, jobs: tuple[str, ...], address: str | None, as_json: bool
) -> int:
    """Show a cluster's nodes, resources and actors, and what is pending and why.

    If jobs are named, show the state of these batch jobs, as `rayhpc jobs` does; if a cluster is
    that `rayhpc up` has made, show its machines, too.
    """
    if jobs:
        from rayhpc.cli.cluster_names import is_cluster

        if len(jobs) == 1 and is_cluster(jobs[0]):
            from rayhpc.cli.cluster_status import show

            return show(jobs[0], as_json)
        from rayhpc.cli import jobs as of_jobs

        context.invoke(of_jobs.jobs, jobs=jobs, job_dir=None, as_json=as_json)
        return 0
    from rayhpc.launch.observer import Observer

    record = showing.chosen_session(address)
    with Observer(record.session_dir) as observer:
        state = observer.state()
        growth = elastic_status.asked(observer)
    if as_json:
        page = {**to_json(record, state), "elastic": elastic_status.to_json(growth)}
        click.echo(json.dumps(page, indent=2))
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    render(record, state, console)
    elastic_status.render(growth, console)
    return 0


def to_json(record: SessionRecord, state: ClusterState) -> dict[str, Any]:
    """Everything as plain values; memory in bytes, times in seconds since 1970."""
    return {
        "address": record.address,
        "cluster_id": state.cluster_id,
        "started": state.started,
        "session": record.session_dir,
        "nodes": [_node_json(each) for each in state.nodes],
        "resources": {
            name: {"total": total, "used": used}
            for name, (total, used) in _totals(state.nodes).items()
        },
        "actors": state.actors,
        "placement_groups": state.groups,
        "jobs": state.jobs,
        "errors": {"count": state.errors, "last": state.last_error},
        "pending": [
            {"resources": showing.plain_resources(wanted), "count": count, "reason": reason}
            for wanted, count, reason in state.demand
        ],
    }


def render(record: SessionRecord, state: ClusterState, console: Console) -> None:
    """Print the page."""
    from rich.text import Text

    alive = [node for node in state.nodes if node.alive]
    console.print(
        Text.assemble(
            ("cluster ", "bold"),
            record.address,
            f", {len(alive)} node{'s' * (len(alive) != 1)}, up ",
            showing.age(time.time() - state.started),
        )
    )
    console.print(_nodes_table(state.nodes))
    for node in state.nodes:
        if not node.alive and node.ended:
            text = f"{node.info.hostname} is gone: {node.ended}"
            console.print(text, markup=False, soft_wrap=True)
    console.print(_resources_line(state.nodes))
    for what, counts in (("actors", state.actors), ("placement groups", state.groups)):
        if counts:
            shown = ", ".join(f"{number} {name.lower()}" for name, number in counts.items())
            console.print(f"{what}: {shown}")
    console.print(f"programs attached: {state.jobs}")
    _render_demand(state, console)
    _render_errors(state, console)


def _nodes_table(nodes: list[NodeState]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("node", no_wrap=True)
    table.add_column("address", no_wrap=True)
    resources = [name for name in ("CPU", "GPU", "memory") if any(_total(nodes, name))]
    for name in (*resources, "object store", "workers"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for node in sorted(nodes, key=lambda each: (not each.info.is_head, each.info.number)):
        name = node.info.hostname + (" (head)" if node.info.is_head else "")
        cells = [_used(node, each) for each in resources]
        store = showing.share_of_size(node.store_used, node.info.store_bytes)
        if node.store_spilled:
            store += f" +{showing.size_in_words(node.store_spilled)} spilled"
        table.add_row(name, node.info.ip, *cells, store, str(node.workers), _state(node))
    return table


def _total(nodes: list[NodeState], name: str) -> list[int]:
    return [node.info.total.get(name, 0) for node in nodes]


def _used(node: NodeState, name: str) -> str:
    total = node.info.total.get(name, 0)
    if not total:
        return "-"
    used = total - node.available.get(name, 0) if node.alive else 0
    return showing.share(name, used, total)


def _state(node: NodeState) -> str:
    if not node.alive:
        return "gone"
    return "draining" if node.draining else "alive"


def _resources_line(nodes: list[NodeState]) -> str:
    parts = []
    for name, (total, used) in _totals(nodes).items():
        if name in _SHOWN_APART and "memory" in name:
            parts.append(f"{showing.share_of_size(used, total)} {name.replace('_', ' ')}")
        else:
            parts.append(f"{used:g}/{total:g} {name}")
    return "in use: " + ", ".join(parts)


def _totals(nodes: list[NodeState]) -> dict[str, tuple[float, float]]:
    """Total and used amount of each resource over all living nodes."""
    found: dict[str, tuple[float, float]] = {}
    for node in nodes:
        if not node.alive:
            continue
        for name, total in showing.plain_resources(node.info.total).items():
            if name.startswith(_NAMES_A_NODE):
                continue
            used = total - showing.plain_resources(node.available).get(name, 0.0)
            if name == "object_store_memory":
                used = float(node.store_used)
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + total, before[1] + used)
    return found


def _render_demand(state: ClusterState, console: Console) -> None:
    if not state.demand:
        console.print("nothing is pending")
        return
    console.print("pending:")
    for wanted, count, reason in state.demand:
        console.print(f"  {count} of {showing.demand_in_words(wanted) or 'nothing'}: {reason}")


def _render_errors(state: ClusterState, console: Console) -> None:
    """Faults in rayhpc itself, which should be reported."""
    found = [("head", state.errors, state.last_error)]
    found += [(f"node {x.info.hostname}", x.errors, x.last_error) for x in state.nodes]
    for who, count, last in found:
        if count:
            errors = f"{count} error{'s' * (count != 1)} inside rayhpc"
            text = f"{who}: {errors}, see its log; the last: {last}"
            console.print(text, markup=False, soft_wrap=True)


def _node_json(node: NodeState) -> dict[str, Any]:
    info = node.info
    return {
        "node_id": info.node_id,
        "hostname": info.hostname,
        "ip": info.ip,
        "rank": info.rank,
        "is_head": info.is_head,
        "pid": info.pid,
        "alive": node.alive,
        "ended": node.ended,
        "draining": node.draining,
        "total": showing.plain_resources(info.total),
        "available": showing.plain_resources(node.available),
        "labels": info.labels,
        "object_store": {
            "total": info.store_bytes,
            "used": node.store_used,
            "spilled": node.store_spilled,
        },
        "workers": node.workers,
        "pending": node.pending,
        "errors": {"count": node.errors, "last": node.last_error},
    }
