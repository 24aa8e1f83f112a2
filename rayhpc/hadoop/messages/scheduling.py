"""An ApplicationMaster's side of the ResourceManager: register, allocate, finish.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from enum import IntEnum

from rayhpc.hadoop.messages.launch import ApplicationACLMapProto
from rayhpc.hadoop.messages.records import (
    ContainerIdProto,
    ContainerProto,
    ContainerStatusProto,
    FinalApplicationStatusProto,
    NMTokenProto,
    NodeReportProto,
    PriorityProto,
    ResourceProto,
    ResourceRequestProto,
    ResourceTypeInfoProto,
)
from rayhpc.hadoop.messages.security import TokenProto
from rayhpc.hadoop.protobuf import (
    Message,
    boolean,
    bytestring,
    enumeration,
    float32,
    int32,
    message,
    string,
)


class RegisterApplicationMasterRequestProto(Message):
    host: str = string(1)
    rpc_port: int = int32(2)
    tracking_url: str = string(3)


class SchedulerResourceTypes(IntEnum):
    MEMORY = 0
    CPU = 1


class RegisterApplicationMasterResponseProto(Message):
    maximumCapability: ResourceProto | None = message(1, ResourceProto)
    client_to_am_token_master_key: bytes = bytestring(2)
    application_ACLs: list[ApplicationACLMapProto] = message(
        3, ApplicationACLMapProto, repeated=True
    )
    containers_from_previous_attempts: list[ContainerProto] = message(
        4, ContainerProto, repeated=True
    )
    queue: str = string(5)
    nm_tokens_from_previous_attempts: list[NMTokenProto] = message(6, NMTokenProto, repeated=True)
    scheduler_resource_types: list[SchedulerResourceTypes] = enumeration(
        7, SchedulerResourceTypes, repeated=True
    )
    resource_types: list[ResourceTypeInfoProto] = message(9, ResourceTypeInfoProto, repeated=True)


class ResourceBlacklistRequestProto(Message):
    blacklist_additions: list[str] = string(1, repeated=True)
    blacklist_removals: list[str] = string(2, repeated=True)


class AllocateRequestProto(Message):
    ask: list[ResourceRequestProto] = message(1, ResourceRequestProto, repeated=True)
    release: list[ContainerIdProto] = message(2, ContainerIdProto, repeated=True)
    blacklist_request: ResourceBlacklistRequestProto | None = message(
        3, ResourceBlacklistRequestProto
    )
    response_id: int = int32(4)
    progress: float = float32(5)
    tracking_url: str = string(11)


class AMCommandProto(IntEnum):
    AM_RESYNC = 1
    AM_SHUTDOWN = 2


class PreemptionContainerProto(Message):
    id: ContainerIdProto | None = message(1, ContainerIdProto)


class StrictPreemptionContractProto(Message):
    container: list[PreemptionContainerProto] = message(1, PreemptionContainerProto, repeated=True)


class PreemptionMessageProto(Message):
    strictContract: StrictPreemptionContractProto | None = message(1, StrictPreemptionContractProto)


class AllocateResponseProto(Message):
    a_m_command: AMCommandProto = enumeration(1, AMCommandProto)
    response_id: int = int32(2)
    allocated_containers: list[ContainerProto] = message(3, ContainerProto, repeated=True)
    completed_container_statuses: list[ContainerStatusProto] = message(
        4, ContainerStatusProto, repeated=True
    )
    limit: ResourceProto | None = message(5, ResourceProto)
    updated_nodes: list[NodeReportProto] = message(6, NodeReportProto, repeated=True)
    num_cluster_nodes: int = int32(7)
    preempt: PreemptionMessageProto | None = message(8, PreemptionMessageProto)
    nm_tokens: list[NMTokenProto] = message(9, NMTokenProto, repeated=True)
    am_rm_token: TokenProto | None = message(12, TokenProto)
    application_priority: PriorityProto | None = message(13, PriorityProto)
    containers_from_previous_attempts: list[ContainerProto] = message(
        17, ContainerProto, repeated=True
    )


class FinishApplicationMasterRequestProto(Message):
    diagnostics: str = string(1)
    tracking_url: str = string(2)
    final_application_status: FinalApplicationStatusProto = enumeration(
        3, FinalApplicationStatusProto
    )


class FinishApplicationMasterResponseProto(Message):
    isUnregistered: bool = boolean(1)
