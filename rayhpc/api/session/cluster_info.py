"""What the cluster consists of and what it has run: nodes, resources, the timeline.

Used by users.  Read-only.
"""

from __future__ import annotations

from typing import Any

from rayhpc.api.groups.placing import amounts
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.interrupts import inside
from rayhpc.wire.feasibility import NODE_ID_LABELS
from rayhpc.wire.messages import cluster, listings
from rayhpc.wire.messages.common import NodeInfo, Resources


def node_states(client: Client) -> list[listings.NodeState]:
    """All nodes as the head knows them, dead ones included."""
    found: list[listings.NodeState] = client.ask_head(cluster.Nodes(), list[listings.NodeState])
    return found


def nodes() -> list[dict[str, Any]]:
    """One row per node, dead ones included.

    Each has NodeID, Alive, NodeManagerAddress, NodeManagerHostname, NodeManagerPort, NodeName,
    Resources, Labels, and for dead ones DeathReasonMessage.
    """
    client = current.client()
    with inside:
        return [_row(state) for state in node_states(client)]


def cluster_resources() -> dict[str, float]:
    """The total resources of all living nodes: resource → amount (memory in bytes); those of which
    there are none are left out.
    """
    return _positive(_sum(lambda state: state.info.total))


def available_resources() -> dict[str, float]:
    """The resources that are free now; exhausted ones are left out."""
    return _positive(_sum(lambda state: state.available))


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """Every task and actor call that has run, as a Chrome trace.

    Open the file in `chrome://tracing` or https://ui.perfetto.dev.  Each node keeps at least its
    last 500,000 runs (`RAYHPC_TASK_RUNS` in the environment of whoever starts it); a warning says
    if older ones are missing.  A process that is killed loses what it ran in its last quarter of a
    second.

    Args:
        filename: the JSON file to write; None: return the events.

    Returns:
        The events (times in microseconds since 1970), or None if they were written to a file.
    """
    from rayhpc.api.session.trace import collect

    events = collect(current.client())
    if filename is None:
        return list(events)
    import json

    with open(filename, "w", encoding="utf-8") as file:
        # One by one: a million events as one string would take a gigabyte.
        between = "["
        for event in events:
            file.write(between + json.dumps(event))
            between = ",\n"
        file.write("]" if between != "[" else "[]")
    return None


def labels_of(info: NodeInfo) -> dict[str, str]:
    """A node's labels, including the one that Ray adds to each."""
    return {NODE_ID_LABELS[0]: info.node_id, **info.labels}


def _positive(resources: dict[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in resources.items() if amount > 0}


def _sum(part: Any) -> dict[str, float]:
    client = current.client()
    total: Resources = {}
    with inside:
        for state in node_states(client):
            if state.alive:
                for name, amount in part(state).items():
                    total[name] = total.get(name, 0) + amount
    return amounts(total)


def _row(state: listings.NodeState) -> dict[str, Any]:
    info = state.info
    return {
        "NodeID": info.node_id,
        "Alive": state.alive,
        "alive": state.alive,
        "NodeManagerAddress": info.ip,
        "NodeManagerHostname": info.hostname,
        "NodeManagerPort": info.endpoints[0][1] if info.endpoints else 0,
        "NodeName": info.hostname,
        "RayletSocketName": f"{info.session_dir}/raylet.sock",
        "ObjectStoreSocketName": "",
        "MetricsExportPort": 0,
        "DeathReason": 0 if state.alive else 1,
        "DeathReasonMessage": state.ended,
        "Resources": _positive(amounts(info.total)) if state.alive else {},
        "Labels": labels_of(info),
    }
