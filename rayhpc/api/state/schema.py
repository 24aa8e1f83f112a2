"""The rows that listings return: one class per kind, with Ray's column names.

Used by `sources` (which creates them) and by programs, through attributes or like a dict.  Times
are milliseconds since the epoch; ids are hex.  What has not ended yet has None as its `end_time_ms`
or, where Ray has that, 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any


class StateSchema:
    """A row; `row.column`, `row["column"]`, `dict(row)` and `row.asdict()` all work."""

    @classmethod
    def columns(cls) -> set[str]:
        """The names of the columns."""
        return {x.name for x in fields(cls)}  # type: ignore[arg-type]

    list_columns = columns
    filterable_columns = columns

    def asdict(self) -> dict[str, Any]:
        """The row as a dict."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def keys(self) -> Iterator[str]:
        """The columns, so that `dict(row)` works."""
        return iter(self.asdict())

    def get(self, key: str, default: Any = None) -> Any:
        """A column's value."""
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        if key not in self.columns():
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self.columns()


@dataclass
class ActorState(StateSchema):
    """An actor."""

    actor_id: str
    class_name: str
    state: str
    job_id: str
    name: str
    node_id: str | None
    pid: int
    ray_namespace: str
    serialized_runtime_env: str = ""
    required_resources: dict[str, float] = field(default_factory=dict)
    death_cause: str | None = None
    is_detached: bool = False
    placement_group_id: str | None = None
    repr_name: str = ""
    num_restarts: int = 0
    start_time_ms: int | None = None
    end_time_ms: int | None = None


@dataclass
class PlacementGroupState(StateSchema):
    """A placement group."""

    placement_group_id: str
    name: str
    creator_job_id: str
    state: str
    bundles: list[dict[str, Any]] = field(default_factory=list)
    is_detached: bool = False
    stats: dict[str, Any] = field(default_factory=dict)
    strategy: str = "PACK"


@dataclass
class NodeState(StateSchema):
    """A node."""

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    state_message: str | None
    node_name: str
    resources_total: dict[str, float]
    labels: dict[str, str] = field(default_factory=dict)
    start_time_ms: int | None = None
    end_time_ms: int = 0
    resources_available: dict[str, float] = field(default_factory=dict)
    object_store_used: int = 0


@dataclass
class JobState(StateSchema):
    """A job: one driver program."""

    job_id: str
    submission_id: str | None
    entrypoint: str
    status: str
    type: str = "DRIVER"
    message: str = ""
    start_time: int | None = None
    end_time: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    runtime_env: dict[str, Any] = field(default_factory=dict)
    driver_info: dict[str, Any] = field(default_factory=dict)


@dataclass
class WorkerState(StateSchema):
    """A process of a node: driver or worker."""

    worker_id: str
    is_alive: bool
    worker_type: str
    exit_type: str | None
    node_id: str
    ip: str
    pid: int
    exit_detail: str | None = None
    state: str = ""
    actor_id: str | None = None
    start_time_ms: int | None = None
    end_time_ms: int = 0


@dataclass
class TaskState(StateSchema):
    """A task or an actor call, one row per attempt."""

    task_id: str
    attempt_number: int
    name: str
    state: str
    job_id: str
    actor_id: str | None
    type: str
    func_or_class_name: str
    parent_task_id: str | None
    node_id: str | None
    worker_id: str | None
    worker_pid: int | None
    error_type: str | None = None
    error_message: str | None = None
    language: str = "PYTHON"
    required_resources: dict[str, float] = field(default_factory=dict)
    creation_time_ms: int | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None


@dataclass
class ObjectState(StateSchema):
    """An object as one process or one node's store holds it."""

    object_id: str
    object_size: int
    task_status: str
    attempt_number: int
    reference_type: str
    call_site: str
    type: str
    pid: int
    ip: str
    node_id: str = ""
