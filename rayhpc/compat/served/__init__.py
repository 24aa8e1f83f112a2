"""What only Ray has: names of the package itself, and below it modules laid out as Ray's are.

Used through `finder` and `serving`; nobody imports this tree by its own name.
"""

from __future__ import annotations

import enum
import logging
from typing import Any

from rayhpc.api.ids import (
    ActorClassID,
    ActorID,
    FunctionID,
    JobID,
    NodeID,
    ObjectID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from rayhpc.compat.not_served import refuse
from rayhpc.compat.served._private.modes import (
    LOCAL_MODE,
    RESTORE_WORKER_MODE,
    SCRIPT_MODE,
    SPILL_WORKER_MODE,
    WORKER_MODE,
)

logger = logging.getLogger("rayhpc")


class Language(enum.Enum):
    """The languages Ray knows; rayhpc speaks Python."""

    PYTHON = 0
    JAVA = 1
    CPP = 2


class ClientBuilder:
    """Not served: programs run on a node of the cluster."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse("ray.client")()


client = refuse("ray.client")
java_function = refuse("ray.java_function")
java_actor_class = refuse("ray.java_actor_class")
cpp_function = refuse("ray.cpp_function")

__all__ = [
    "LOCAL_MODE",
    "RESTORE_WORKER_MODE",
    "SCRIPT_MODE",
    "SPILL_WORKER_MODE",
    "WORKER_MODE",
    "ActorClassID",
    "ActorID",
    "ClientBuilder",
    "FunctionID",
    "JobID",
    "Language",
    "NodeID",
    "ObjectID",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "client",
    "cpp_function",
    "java_actor_class",
    "java_function",
    "logger",
]
