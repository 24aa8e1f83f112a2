"""`ray._private.state`: the cluster's tables in the form Ray's private functions return them."""

from __future__ import annotations

from typing import Any

import rayhpc
from rayhpc.api.state.sources import Sources, amounts, job_id, millis
from rayhpc.util.placement_group import placement_group_table as _group_table
from rayhpc.wire.address import node_of
from rayhpc.wire.messages.actors import ActorRow


def actors(actor_id: Any = None, job: Any = None, actor_state_name: str | None = None) -> Any:
    """Actors by id; with `actor_id` (hex, or an id) only that one's row."""
    sources = Sources()
    wanted = actor_id if actor_id is None or isinstance(actor_id, str) else actor_id.hex()
    found = {}
    for row in sources.raw_actors():
        if wanted in (None, row.spec.actor.hex()) and actor_state_name in (None, row.state):
            found[row.spec.actor.hex()] = {**_actor(sources, row), "Pid": row.pid}
    return found if wanted is None else found.get(wanted, {})


def available_resources_per_node() -> dict[str, dict[str, float]]:
    """What is free on each living node, by node id."""
    alive = (x for x in Sources().raw_nodes().values() if x.alive)
    return {x.info.node_id: amounts(x.available) for x in alive}


def total_resources_per_node() -> dict[str, dict[str, float]]:
    """The total resources of each living node, by node id."""
    alive = (x for x in Sources().raw_nodes().values() if x.alive)
    return {x.info.node_id: amounts(x.info.total) for x in alive}


def placement_group_table(placement_group_id: Any = None) -> dict[str, Any]:
    """The placement groups' table, or one group's row."""
    table: dict[str, Any] = _group_table()
    if placement_group_id is None:
        return table
    return dict(table.get(placement_group_id.hex(), {}))


def jobs() -> list[dict[str, Any]]:
    """The jobs."""
    return [
        {
            "JobID": row.job_id,
            "DriverIPAddress": row.driver_info["node_ip_address"],
            "DriverPid": int(row.driver_info["pid"]),
            "IsDead": row.status != "RUNNING",
            "StartTime": row.start_time or 0,
            "EndTime": row.end_time or 0,
            "Entrypoint": row.entrypoint,
        }
        for row in Sources().jobs()
    ]


class GlobalState:
    """The same tables as methods."""

    actor_table = staticmethod(actors)
    placement_group_table = staticmethod(placement_group_table)
    available_resources_per_node = staticmethod(available_resources_per_node)
    total_resources_per_node = staticmethod(total_resources_per_node)
    job_table = staticmethod(jobs)

    @staticmethod
    def node_table() -> Any:
        """The nodes, as `nodes()` gives them."""
        return rayhpc.nodes()

    @staticmethod
    def cluster_resources() -> Any:
        """The same as the API's."""
        return rayhpc.cluster_resources()

    @staticmethod
    def available_resources() -> Any:
        """The same as the API's."""
        return rayhpc.available_resources()


state = GlobalState()


def _actor(sources: Sources, row: ActorRow) -> dict[str, Any]:
    spec = row.spec
    nodes = sources.raw_nodes()
    node = nodes.get(node_of(row.address)) if row.address else None
    owner = nodes.get(node_of(spec.owner))
    return {
        "ActorID": spec.actor.hex(),
        "ActorClassName": spec.class_name,
        "IsDetached": spec.detached,
        "Name": spec.name,
        "JobID": job_id(spec.job),
        "Address": {
            "IPAddress": node.info.ip if node else "",
            "Port": 0,
            "NodeID": row.node_id or (node.info.node_id if node else ""),
        },
        "OwnerAddress": {
            "IPAddress": owner.info.ip if owner else "",
            "Port": 0,
            "NodeID": owner.info.node_id if owner else "",
        },
        "State": row.state,
        "NumRestarts": row.incarnation,
        "Timestamp": millis(row.started) or 0,
        "StartTime": millis(row.started) or 0,
        "EndTime": millis(row.ended) or 0,
        "DeathCause": row.reason,
    }


def __getattr__(name: str) -> Any:
    if name in ("nodes", "timeline", "cluster_resources", "available_resources"):
        return getattr(rayhpc, name)
    raise AttributeError(f"module 'ray._private.state' (served by rayhpc) has no {name!r}")
