"""rayhpc: Ray's programming model on the nodes a batch scheduler gives you.

The public API, re-exported; each name is loaded on first use, so that `import rayhpc` costs next
to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayhpc import exceptions, util
    from rayhpc.api.actors import actor
    from rayhpc.api.actors.actor import exit_actor, get_actor, kill, method
    from rayhpc.api.actors.actor_class import ActorClass
    from rayhpc.api.actors.actor_handle import ActorHandle
    from rayhpc.api.actors.actor_method import ActorMethod
    from rayhpc.api.objects.objects import cancel, free, get, put, wait
    from rayhpc.api.session import runtime_context, runtime_env, services
    from rayhpc.api.session.cluster_info import (
        available_resources,
        cluster_resources,
        nodes,
        timeline,
    )
    from rayhpc.api.session.runtime_context import RuntimeContext, get_gpu_ids, get_runtime_context
    from rayhpc.api.session.runtime_env import RuntimeEnv
    from rayhpc.api.session.session import init, is_initialized, logger, shutdown
    from rayhpc.api.session.session_context import RayContext
    from rayhpc.api.tasks import remote_function
    from rayhpc.api.tasks.language import Language
    from rayhpc.api.tasks.remote import remote
    from rayhpc.api.tasks.remote_function import RemoteFunction
    from rayhpc.runtime.values.dynamic_results import DynamicObjectRefGenerator
    from rayhpc.runtime.values.ids import (
        ActorClassID,
        ActorID,
        FunctionID,
        JobID,
        NodeID,
        PlacementGroupID,
        TaskID,
        UniqueID,
        WorkerID,
    )
    from rayhpc.runtime.values.references import ObjectID, ObjectRef

__version__ = "0.1.0"

# Name → its module; where the module itself is the name, the entry ends with a dot.
_HOMES = {
    "ActorClass": "api.actors.actor_class",
    "ActorClassID": "runtime.values.ids",
    "ActorHandle": "api.actors.actor_handle",
    "ActorID": "runtime.values.ids",
    "ActorMethod": "api.actors.actor_method",
    "DynamicObjectRefGenerator": "runtime.values.dynamic_results",
    "FunctionID": "runtime.values.ids",
    "JobConfig": "job_config",
    "JobID": "runtime.values.ids",
    "Language": "api.tasks.language",
    "LoggingConfig": "logging_config",
    "NodeID": "runtime.values.ids",
    "ObjectID": "runtime.values.references",
    "ObjectRef": "runtime.values.references",
    "ObjectRefGenerator": "api.objects.generators",
    "PlacementGroupID": "runtime.values.ids",
    "RayContext": "api.session.session_context",
    "RemoteFunction": "api.tasks.remote_function",
    "RuntimeContext": "api.session.runtime_context",
    "RuntimeEnv": "api.session.runtime_env",
    "TaskID": "runtime.values.ids",
    "UniqueID": "runtime.values.ids",
    "WorkerID": "runtime.values.ids",
    "actor": "api.actors.actor.",
    "available_resources": "api.session.cluster_info",
    "cancel": "api.objects.objects",
    "cluster_resources": "api.session.cluster_info",
    "exceptions": "exceptions.",
    "exit_actor": "api.actors.actor",
    "free": "api.objects.objects",
    "get": "api.objects.objects",
    "get_actor": "api.actors.actor",
    "get_gpu_ids": "api.session.runtime_context",
    "get_runtime_context": "api.session.runtime_context",
    "init": "api.session.session",
    "is_initialized": "api.session.session",
    "kill": "api.actors.actor",
    "logger": "api.session.session",
    "method": "api.actors.actor",
    "nodes": "api.session.cluster_info",
    "put": "api.objects.objects",
    "remote": "api.tasks.remote",
    "remote_function": "api.tasks.remote_function.",
    "runtime_context": "api.session.runtime_context.",
    "runtime_env": "api.session.runtime_env.",
    "services": "api.session.services.",
    "shutdown": "api.session.session",
    "timeline": "api.session.cluster_info",
    "util": "util.",
    "wait": "api.objects.objects",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        value: Any = _module_of_ray(name)
    else:
        module = importlib.import_module(f"rayhpc.{home.rstrip('.')}")
        value = module if home.endswith(".") else getattr(module, name)
    globals()[name] = value
    return value


def _module_of_ray(name: str) -> Any:
    """What `ray.NAME` is where `import ray` is served: `experimental`, `internal`, `dag`, …

    Raises:
        AttributeError: it is not served; the text says what to use instead.
    """
    if not name.startswith("__"):
        from rayhpc.compat.finder import target_of

        spec = target_of(f"ray.{name}")
        if spec is not None:
            return importlib.import_module(spec.name)
    if name.startswith("_"):
        raise AttributeError(f"module 'rayhpc' has no attribute {name!r}")
    from rayhpc.api.session.not_served import missing

    raise missing(name)


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
    "LoggingConfig",
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
