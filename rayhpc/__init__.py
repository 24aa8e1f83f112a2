"""rayhpc: Ray's programming model on the nodes a batch scheduler gives you.

The public API, re-exported; each name is loaded when it is first used, so that `import rayhpc`
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayhpc import exceptions, util
    from rayhpc.api import actor, remote_function, runtime_context, runtime_env, services
    from rayhpc.api.actor import exit_actor, get_actor, kill, method
    from rayhpc.api.actor_class import ActorClass
    from rayhpc.api.actor_handle import ActorHandle
    from rayhpc.api.actor_method import ActorMethod
    from rayhpc.api.cluster_info import (
        available_resources,
        cluster_resources,
        nodes,
        timeline,
    )
    from rayhpc.api.language import JobConfig, Language
    from rayhpc.api.objects import cancel, free, get, put, wait
    from rayhpc.api.remote import remote
    from rayhpc.api.remote_function import RemoteFunction
    from rayhpc.api.runtime_context import RuntimeContext, get_gpu_ids, get_runtime_context
    from rayhpc.api.runtime_env import RuntimeEnv
    from rayhpc.api.session import init, is_initialized, logger, shutdown
    from rayhpc.api.session_context import RayContext
    from rayhpc.runtime.ids import (
        ActorClassID,
        ActorID,
        FunctionID,
        JobID,
        NodeID,
        ObjectID,
        ObjectRef,
        PlacementGroupID,
        TaskID,
        UniqueID,
        WorkerID,
    )
    from rayhpc.runtime.streams import DynamicObjectRefGenerator, ObjectRefGenerator

__version__ = "0.1.0"

# Name → the module it is in; a module that is itself the name stands with a dot at its end.
_HOMES = {
    "ActorClass": "api.actor_class",
    "ActorClassID": "runtime.ids",
    "ActorHandle": "api.actor_handle",
    "ActorID": "runtime.ids",
    "ActorMethod": "api.actor_method",
    "DynamicObjectRefGenerator": "runtime.streams",
    "FunctionID": "runtime.ids",
    "JobConfig": "api.language",
    "JobID": "runtime.ids",
    "Language": "api.language",
    "NodeID": "runtime.ids",
    "ObjectID": "runtime.ids",
    "ObjectRef": "runtime.ids",
    "ObjectRefGenerator": "runtime.streams",
    "PlacementGroupID": "runtime.ids",
    "RayContext": "api.session_context",
    "RemoteFunction": "api.remote_function",
    "RuntimeContext": "api.runtime_context",
    "RuntimeEnv": "api.runtime_env",
    "TaskID": "runtime.ids",
    "UniqueID": "runtime.ids",
    "WorkerID": "runtime.ids",
    "actor": "api.actor.",
    "available_resources": "api.cluster_info",
    "cancel": "api.objects",
    "cluster_resources": "api.cluster_info",
    "exceptions": "exceptions.",
    "exit_actor": "api.actor",
    "free": "api.objects",
    "get": "api.objects",
    "get_actor": "api.actor",
    "get_gpu_ids": "api.runtime_context",
    "get_runtime_context": "api.runtime_context",
    "init": "api.session",
    "is_initialized": "api.session",
    "kill": "api.actor",
    "logger": "api.session",
    "method": "api.actor",
    "nodes": "api.cluster_info",
    "put": "api.objects",
    "remote": "api.remote",
    "remote_function": "api.remote_function.",
    "runtime_context": "api.runtime_context.",
    "runtime_env": "api.runtime_env.",
    "services": "api.services.",
    "shutdown": "api.session",
    "timeline": "api.cluster_info",
    "util": "util.",
    "wait": "api.objects",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        if name.startswith("_"):
            raise AttributeError(f"module 'rayhpc' has no attribute {name!r}")
        from rayhpc.api.not_served import missing

        raise missing(name)
    module = importlib.import_module(f"rayhpc.{home.rstrip('.')}")
    value = module if home.endswith(".") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [
    "ActorClass",
    "ActorClassID",
    "ActorHandle",
    "ActorID",
    "ActorMethod",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobConfig",
    "JobID",
    "Language",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "RayContext",
    "RemoteFunction",
    "RuntimeContext",
    "RuntimeEnv",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "exit_actor",
    "free",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "logger",
    "method",
    "nodes",
    "put",
    "remote",
    "remote_function",
    "runtime_context",
    "runtime_env",
    "services",
    "shutdown",
    "timeline",
    "util",
    "wait",
]
