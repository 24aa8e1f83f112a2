"""Tools on top of the core: pools, queues, placement groups, listings, bridges to other libraries.

Used by programs.  Loads each tool when it is first used, so that `import rayhpc` stays quick.
"""

# No `from __future__ import annotations` here: it would hide the module of that name.
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayhpc.util import placement_group as placement_group
    from rayhpc.util.actor_pool import ActorPool
    from rayhpc.util.annotations import Deprecated, DeveloperAPI, PublicAPI
    from rayhpc.util.check_serialize import inspect_serializability
    from rayhpc.util.debug import disable_log_once_globally, enable_periodic_logging, log_once
    from rayhpc.util.helpers import (
        as_completed,
        get_node_instance_id,
        get_node_ip_address,
        list_named_actors,
        map_unordered,
    )
    from rayhpc.util.placement_group import (
        get_current_placement_group,
        get_placement_group,
        placement_group_table,
        remove_placement_group,
    )
    from rayhpc.util.progress_bars import progress_bar
    from rayhpc.util.serialization import deregister_serializer, register_serializer

_HOMES = {
    "ActorPool": "actor_pool",
    "Deprecated": "annotations",
    "DeveloperAPI": "annotations",
    "PublicAPI": "annotations",
    "as_completed": "helpers",
    "connect": "client_connect",
    "deregister_serializer": "serialization",
    "disable_log_once_globally": "debug",
    "disconnect": "client_connect",
    "enable_periodic_logging": "debug",
    "get_current_placement_group": "placement_group",
    "get_node_instance_id": "helpers",
    "get_node_ip_address": "helpers",
    "get_placement_group": "placement_group",
    "inspect_serializability": "check_serialize",
    "list_named_actors": "helpers",
    "log_once": "debug",
    "map_unordered": "helpers",
    "placement_group_table": "placement_group",
    "progress_bar": "progress_bars",
    "register_serializer": "serialization",
    "remove_placement_group": "placement_group",
}
# Modules that are also used without being imported themselves (`rayhpc.util.queue.Queue`).
_MODULES = frozenset(
    (
        "accelerators",
        "actor_pool",
        "annotations",
        "check_serialize",
        "client_connect",
        "collective",
        "dag",
        "dask",
        "debug",
        "futures",
        "helpers",
        "joblib",
        "locations",
        "metrics",
        "multiprocessing",
        "placement_group",
        "progress_bars",
        "queue",
        "scheduling_strategies",
        "serialization",
        "state",
        "tqdm_ray",
    )
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"rayhpc.util.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"rayhpc.util.{name}")
    raise AttributeError(f"module 'rayhpc.util' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


__all__ = [
    "ActorPool",
    "Deprecated",
    "DeveloperAPI",
    "PublicAPI",
    "as_completed",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "progress_bar",
    "register_serializer",
    "remove_placement_group",
]
