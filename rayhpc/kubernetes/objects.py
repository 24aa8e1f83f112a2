"""The kinds of objects that are used here, and what is read of them.

Objects to create are plain mappings, as in a manifest; what the server answers is decoded into
these, and what they do not name is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

Object = dict[str, Any]
T = TypeVar("T")


class _Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Named in Python's way here, in Kubernetes' on the wire."""


class Owner(_Struct, frozen=True):
    """An object that another one ends with."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Meta(_Struct, frozen=True):
    """What every object has."""

    name: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    owner_references: list[Owner] = []


class Condition(_Struct, frozen=True):
    """One of an object's conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class Waiting(_Struct, frozen=True):
    """Why a container has not started."""

    reason: str = ""
    message: str = ""


class Terminated(_Struct, frozen=True):
    """How a container has ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""


class ContainerState(_Struct, frozen=True):
    """At most one of them."""

    waiting: Waiting | None = None
    running: dict[str, Any] | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Struct, frozen=True):
    """One container of a pod."""

    name: str = ""
    image: str = ""
    state: ContainerState = ContainerState()


class PodSpec(_Struct, frozen=True):
    """Where a pod is."""

    node_name: str = ""


class PodAddress(_Struct, frozen=True):
    """One of a pod's addresses."""

    ip: str = ""


class PodStatus(_Struct, frozen=True):
    """How a pod fares."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[PodAddress] = msgspec.field(default_factory=list, name="podIPs")
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(_Struct, frozen=True):
    """A pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class JobStatus(_Struct, frozen=True):
    """How a Job fares."""

    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: list[Condition] = []


class Job(_Struct, frozen=True):
    """A Job."""

    metadata: Meta
    status: JobStatus = JobStatus()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it holds."""
        held = (x for x in self.status.conditions if x.type == kind and x.status == "True")
        return next(held, None)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.condition("Complete") is not None or self.condition("Failed") is not None


class Event(_Struct, frozen=True):
    """What a component of the cluster has said about an object."""

    metadata: Meta
    type: str = ""
    reason: str = ""
    message: str = ""
    involved_object: Owner = Owner()
    last_timestamp: str | None = None
    event_time: str | None = None

    @property
    def moment(self) -> str:
        """When, as text that sorts."""
        return self.last_timestamp or self.event_time or self.metadata.creation_timestamp


class Secret(_Struct, frozen=True):
    """A Secret, without what is in it."""

    metadata: Meta


class Other(_Struct, frozen=True):
    """An object of which only the metadata matter."""

    metadata: Meta


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of object: where it lies in the API, and what it is read as."""

    group: str
    version: str
    plural: str
    name: str
    read_as: type[T]

    def path(self, namespace: str, name: str = "") -> str:
        """Its path, or that of one object."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{base}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")

    @property
    def api_version(self) -> str:
        """As manifests name it."""
        return f"{self.group}/{self.version}" if self.group else self.version


_RBAC = "rbac.authorization.k8s.io"
JOB = Kind("batch", "v1", "jobs", "Job", Job)
POD = Kind("", "v1", "pods", "Pod", Pod)
SECRET = Kind("", "v1", "secrets", "Secret", Secret)
EVENT = Kind("", "v1", "events", "Event", Event)
SERVICE = Kind("", "v1", "services", "Service", Other)
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount", Other)
ROLE = Kind(_RBAC, "v1", "roles", "Role", Other)
ROLE_BINDING = Kind(_RBAC, "v1", "rolebindings", "RoleBinding", Other)
