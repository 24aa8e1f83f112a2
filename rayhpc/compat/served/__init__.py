"""What only Ray has: names of the package itself, and modules laid out as in Ray.

Used through `finder` and `serving`; nobody imports this tree under its own name.
"""

from __future__ import annotations

from typing import Any

from rayhpc.compat.not_served import refuse
from rayhpc.compat.served._private.modes import (
    LOCAL_MODE,
    RESTORE_WORKER_MODE,
    SCRIPT_MODE,
    SPILL_WORKER_MODE,
    WORKER_MODE,
)


class ClientBuilder:
    """Not served: programs run on a node of the cluster."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse("ray.client")()


client = refuse("ray.client")
cpp_function = refuse("ray.cpp_function")
java_actor_class = refuse("ray.java_actor_class")
java_function = refuse("ray.java_function")

__all__ = [
    "LOCAL_MODE",
    "RESTORE_WORKER_MODE",
    "SCRIPT_MODE",
    "SPILL_WORKER_MODE",
    "WORKER_MODE",
    "ClientBuilder",
    "client",
    "cpp_function",
    "java_actor_class",
    "java_function",
]
