"""The node types of a cluster's YAML as the planner takes them, for providers that give machines.

Used by whatever brings such a cluster up.  Pure.
"""

from __future__ import annotations

from rayhpc.clusters.read import ClusterFile
from rayhpc.clusters.schema import HEAD_TYPE, WORKER_TYPE, ClusterConfig, NodeTypeConfig
from rayhpc.elastic.types import NodeType, check_types
from rayhpc.wire.messages.common import UNIT

# Ray's own, if the file does not say.
DEFAULT_MAX_WORKERS = 2


def max_workers(config: ClusterConfig) -> int:
    """How many workers of all types together there may be."""
    return DEFAULT_MAX_WORKERS if config.max_workers is None else config.max_workers


def worker_types(file: ClusterFile, idle_seconds: float) -> list[NodeType]:
    """The types of the cluster's workers.

    Args:
        file: the cluster's YAML.
        idle_seconds: after how long an idle node is given back where the file does not say.

    Raises:
        ClusterFileError: fewer workers are allowed than are to be there always, or a type's name
            cannot be one.
    """
    config = file.config
    if ("idle_timeout_minutes",) in file.document.lines:
        idle_seconds = 60.0 * config.idle_timeout_minutes
    found = [_type(config, name, each, idle_seconds) for name, each in _workers(config).items()]
    least, most = sum(each.min_nodes for each in found), max_workers(config)
    if least > most:
        text = f"{least} workers are to be there always, but max_workers is {most}: raise it"
        raise file.fault(("max_workers",), text)
    try:
        check_types(found)
    except ValueError as error:
        raise file.fault(("available_node_types",), str(error)) from None
    return found


def head_type(config: ClusterConfig) -> tuple[str, NodeTypeConfig]:
    """The head's type and its name."""
    name = config.head_node_type or HEAD_TYPE
    return name, config.available_node_types.get(name, NodeTypeConfig())


def _workers(config: ClusterConfig) -> dict[str, NodeTypeConfig]:
    """Without types of its own a file has one for workers; `min_workers` at the top is its number.

    The head's type is one for workers, too, if it says how many.
    """
    head = config.head_node_type or HEAD_TYPE
    found = {
        name: each
        for name, each in config.available_node_types.items()
        if name != head or each.min_workers or each.max_workers
    }
    return found or {WORKER_TYPE: NodeTypeConfig(min_workers=config.min_workers or 0)}


def _type(config: ClusterConfig, name: str, each: NodeTypeConfig, idle: float) -> NodeType:
    most = max_workers(config)
    return NodeType(
        name=name,
        resources={key: round(amount * UNIT) for key, amount in each.resources.items()},
        labels=each.labels,
        min_nodes=each.min_workers,
        max_nodes=most if each.max_workers is None else min(most, each.max_workers),
        idle_seconds=idle if each.idle_timeout_s is None else each.idle_timeout_s,
        options=each.node_config,
        setup=_setup(config, each),
    )


def _setup(config: ClusterConfig, each: NodeTypeConfig) -> tuple[str, ...]:
    """As in Ray, a type's own `worker_setup_commands` replace the file's."""
    first = each.initialization_commands
    if first is None:
        first = config.initialization_commands
    if each.worker_setup_commands is not None:
        return (*first, *each.worker_setup_commands)
    return (*first, *config.setup_commands, *config.worker_setup_commands)
