"""The rows' classes, under Ray's name for their module.

Used by libraries.
"""

from rayhpc.api.state.schema import (
    ActorState,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    StateSchema,
    TaskState,
    WorkerState,
)
from rayhpc.util.state.listing import DEFAULT_LIMIT, DEFAULT_RPC_TIMEOUT

__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_RPC_TIMEOUT",
    "ActorState",
    "JobState",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "StateSchema",
    "TaskState",
    "WorkerState",
]
