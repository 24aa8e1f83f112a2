"""The plan of `up --dry-run` where the place that makes machines cannot be asked itself.

Called by `cli.up` and `cli.rented`.  Asks nobody: it says what the file alone says.
"""

from __future__ import annotations

from collections.abc import Mapping

from rayhpc.clusters.plan import Action, Row
from rayhpc.clusters.schema import HEAD_TYPE, WORKER_TYPE, ClusterConfig, NodeTypeConfig

# What the providers call the kind of machine, in `node_config`.
_KINDS = ("InstanceType", "machineType", "acceleratorType", "instance_type", "partition")


def cloud_rows(config: ClusterConfig) -> list[Row]:
    """The head, and each worker that would be asked for at once."""
    types = config.available_node_types
    head = config.head_node_type or HEAD_TYPE
    rows = [_row(head, types.get(head, NodeTypeConfig()), True, 1)]
    left = len(types) * 1000 if config.max_workers is None else config.max_workers
    workers = {name: each for name, each in types.items() if name != head}
    if not workers:
        # Ray's defaults have a type of their own for workers; min_workers at the top is its number.
        workers = {WORKER_TYPE: NodeTypeConfig(min_workers=config.min_workers or 0)}
    for name, each in workers.items():
        for number in range(1, min(each.min_workers, left) + 1):
            rows.append(_row(name, each, False, number))
        left -= min(each.min_workers, left)
    return rows


def _row(name: str, kind: NodeTypeConfig, is_head: bool, number: int) -> Row:
    machine = machine_word(kind.node_config)
    label = name if is_head else f"{name} {number}"
    why = f"would ask for a machine {machine}" if machine else "would ask for a machine"
    return Row(label, name, is_head, Action.START, why, sync=True, setup=True)


def machine_word(options: Mapping[str, object]) -> str:
    """What `node_config` calls the kind of machine; empty: it leaves that to the place."""
    found = [str(options[key]) for key in _KINDS if key in options]
    size = options.get("azure_arm_parameters", {})
    if isinstance(size, dict) and "vmSize" in size:
        found.append(str(size["vmSize"]))
    return found[0] if found else ""
