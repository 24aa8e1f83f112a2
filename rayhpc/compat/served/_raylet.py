"""`ray._raylet`: references and ids, where libraries look for them."""

from rayhpc.api.objects.generators import ObjectRefGenerator
from rayhpc.runtime.values.dynamic_results import DynamicObjectRefGenerator
from rayhpc.runtime.values.ids import (
    ActorClassID,
    ActorID,
    BaseID,
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from rayhpc.runtime.values.references import ObjectID, ObjectRef

StreamingObjectRefGenerator = ObjectRefGenerator

__all__ = [
    "ActorClassID",
    "ActorID",
    "BaseID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "StreamingObjectRefGenerator",
    "TaskID",
    "UniqueID",
    "WorkerID",
]
