"""Records shared by several protocols: ids, sizes, containers, nodes, exceptions.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from enum import IntEnum

from rayhpc.hadoop.messages.security import TokenProto
from rayhpc.hadoop.protobuf import (
    Message,
    boolean,
    bytestring,
    enumeration,
    int32,
    int64,
    message,
    string,
    uint32,
)


class FinalApplicationStatusProto(IntEnum):
    APP_UNDEFINED = 0
    APP_SUCCEEDED = 1
    APP_FAILED = 2
    APP_KILLED = 3
    APP_ENDED = 4


class ApplicationIdProto(Message):
    id: int = int32(1)
    cluster_timestamp: int = int64(2)


class ApplicationAttemptIdProto(Message):
    application_id: ApplicationIdProto | None = message(1, ApplicationIdProto)
    attemptId: int = int32(2)


class ContainerIdProto(Message):
    app_id: ApplicationIdProto | None = message(1, ApplicationIdProto)
    app_attempt_id: ApplicationAttemptIdProto | None = message(2, ApplicationAttemptIdProto)
    id: int = int64(3)


class NodeIdProto(Message):
    host: str = string(1)
    port: int = int32(2)


class ResourceTypesProto(IntEnum):
    COUNTABLE = 0


class ResourceInformationProto(Message):
    key: str = string(1, required=True)
    value: int = int64(2)
    units: str = string(3)
    type: ResourceTypesProto = enumeration(4, ResourceTypesProto)
    tags: list[str] = string(5, repeated=True)


class ResourceProto(Message):
    memory: int = int64(1)
    virtual_cores: int = int32(2)
    resource_value_map: list[ResourceInformationProto] = message(
        3, ResourceInformationProto, repeated=True
    )


class PriorityProto(Message):
    priority: int = int32(1)


class ExecutionTypeProto(IntEnum):
    GUARANTEED = 1
    OPPORTUNISTIC = 2


class ContainerProto(Message):
    id: ContainerIdProto | None = message(1, ContainerIdProto)
    nodeId: NodeIdProto | None = message(2, NodeIdProto)
    node_http_address: str = string(3)
    resource: ResourceProto | None = message(4, ResourceProto)
    priority: PriorityProto | None = message(5, PriorityProto)
    container_token: TokenProto | None = message(6, TokenProto)
    execution_type: ExecutionTypeProto = enumeration(
        7, ExecutionTypeProto, ExecutionTypeProto.GUARANTEED
    )
    allocation_request_id: int = int64(8, -1)
    version: int = int32(9)
    allocation_tags: list[str] = string(10, repeated=True)
    exposed_ports: str = string(11)


class ContainerStateProto(IntEnum):
    C_NEW = 1
    C_RUNNING = 2
    C_COMPLETE = 3


class StringStringMapProto(Message):
    key: str = string(1)
    value: str = string(2)


class ContainerSubStateProto(IntEnum):
    CSS_SCHEDULED = 1
    CSS_RUNNING = 2
    CSS_PAUSED = 3
    CSS_COMPLETING = 4
    CSS_DONE = 5


class ContainerStatusProto(Message):
    container_id: ContainerIdProto | None = message(1, ContainerIdProto)
    state: ContainerStateProto = enumeration(2, ContainerStateProto)
    diagnostics: str = string(3, "N/A")
    exit_status: int = int32(4, -1000)
    capability: ResourceProto | None = message(5, ResourceProto)
    executionType: ExecutionTypeProto = enumeration(
        6, ExecutionTypeProto, ExecutionTypeProto.GUARANTEED
    )
    container_attributes: list[StringStringMapProto] = message(
        7, StringStringMapProto, repeated=True
    )
    container_sub_state: ContainerSubStateProto = enumeration(8, ContainerSubStateProto)


class NodeStateProto(IntEnum):
    NS_NEW = 1
    NS_RUNNING = 2
    NS_UNHEALTHY = 3
    NS_DECOMMISSIONED = 4
    NS_LOST = 5
    NS_REBOOTED = 6
    NS_DECOMMISSIONING = 7
    NS_SHUTDOWN = 8


class NodeUpdateTypeProto(IntEnum):
    NODE_USABLE = 0
    NODE_UNUSABLE = 1
    NODE_DECOMMISSIONING = 2


class NodeReportProto(Message):
    nodeId: NodeIdProto | None = message(1, NodeIdProto)
    httpAddress: str = string(2)
    rackName: str = string(3)
    used: ResourceProto | None = message(4, ResourceProto)
    capability: ResourceProto | None = message(5, ResourceProto)
    numContainers: int = int32(6)
    node_state: NodeStateProto = enumeration(7, NodeStateProto)
    health_report: str = string(8)
    last_health_report_time: int = int64(9)
    node_labels: list[str] = string(10, repeated=True)
    decommissioning_timeout: int = uint32(13)
    node_update_type: NodeUpdateTypeProto = enumeration(14, NodeUpdateTypeProto)


class SerializedExceptionProto(Message):
    message: str = string(1)
    trace: str = string(2)
    class_name: str = string(3)


class ResourceTypeInfoProto(Message):
    name: str = string(1, required=True)
    units: str = string(2)
    type: ResourceTypesProto = enumeration(3, ResourceTypesProto)


class StringBytesMapProto(Message):
    key: str = string(1)
    value: bytes = bytestring(2)


class NMTokenProto(Message):
    nodeId: NodeIdProto | None = message(1, NodeIdProto)
    token: TokenProto | None = message(2, TokenProto)


class ExecutionTypeRequestProto(Message):
    execution_type: ExecutionTypeProto = enumeration(
        1, ExecutionTypeProto, ExecutionTypeProto.GUARANTEED
    )
    enforce_execution_type: bool = boolean(2)


class ResourceRequestProto(Message):
    priority: PriorityProto | None = message(1, PriorityProto)
    resource_name: str = string(2)
    capability: ResourceProto | None = message(3, ResourceProto)
    num_containers: int = int32(4)
    relax_locality: bool = boolean(5, True)
    node_label_expression: str = string(6)
    execution_type_request: ExecutionTypeRequestProto | None = message(7, ExecutionTypeRequestProto)
    allocation_request_id: int = int64(8, -1)
