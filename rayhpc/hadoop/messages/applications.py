"""A user's side of the ResourceManager: submission, reports, queues, labels, nodes.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from enum import IntEnum

from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto, LogAggregationContextProto
from rayhpc.hadoop.messages.records import (
    ApplicationAttemptIdProto,
    ApplicationIdProto,
    ContainerIdProto,
    ContainerStateProto,
    FinalApplicationStatusProto,
    NodeIdProto,
    NodeReportProto,
    NodeStateProto,
    PriorityProto,
    ResourceProto,
    ResourceRequestProto,
    StringStringMapProto,
)
from rayhpc.hadoop.messages.security import TokenProto
from rayhpc.hadoop.protobuf import (
    Message,
    boolean,
    enumeration,
    float32,
    int32,
    int64,
    message,
    string,
)


class GetNewApplicationRequestProto(Message):
    pass


class GetNewApplicationResponseProto(Message):
    application_id: ApplicationIdProto | None = message(1, ApplicationIdProto)
    maximumCapability: ResourceProto | None = message(2, ResourceProto)


class ApplicationTimeoutTypeProto(IntEnum):
    APP_TIMEOUT_LIFETIME = 1


class ApplicationTimeoutMapProto(Message):
    application_timeout_type: ApplicationTimeoutTypeProto = enumeration(
        1, ApplicationTimeoutTypeProto
    )
    timeout: int = int64(2)


class ApplicationSubmissionContextProto(Message):
    application_id: ApplicationIdProto | None = message(1, ApplicationIdProto)
    application_name: str = string(2, "N/A")
    queue: str = string(3, "default")
    priority: PriorityProto | None = message(4, PriorityProto)
    am_container_spec: ContainerLaunchContextProto | None = message(5, ContainerLaunchContextProto)
    cancel_tokens_when_complete: bool = boolean(6, True)
    unmanaged_am: bool = boolean(7)
    maxAppAttempts: int = int32(8)
    resource: ResourceProto | None = message(9, ResourceProto)
    applicationType: str = string(10, "YARN")
    keep_containers_across_application_attempts: bool = boolean(11)
    applicationTags: list[str] = string(12, repeated=True)
    attempt_failures_validity_interval: int = int64(13, -1)
    log_aggregation_context: LogAggregationContextProto | None = message(
        14, LogAggregationContextProto
    )
    node_label_expression: str = string(16)
    am_container_resource_request: list[ResourceRequestProto] = message(
        17, ResourceRequestProto, repeated=True
    )
    application_timeouts: list[ApplicationTimeoutMapProto] = message(
        18, ApplicationTimeoutMapProto, repeated=True
    )
    application_scheduling_properties: list[StringStringMapProto] = message(
        19, StringStringMapProto, repeated=True
    )


class SubmitApplicationRequestProto(Message):
    application_submission_context: ApplicationSubmissionContextProto | None = message(
        1, ApplicationSubmissionContextProto
    )


class SubmitApplicationResponseProto(Message):
    pass


class GetApplicationReportRequestProto(Message):
    application_id: ApplicationIdProto | None = message(1, ApplicationIdProto)


class YarnApplicationStateProto(IntEnum):
    NEW = 1
    NEW_SAVING = 2
    SUBMITTED = 3
    ACCEPTED = 4
    RUNNING = 5
    FINISHED = 6
    FAILED = 7
    KILLED = 8


class StringLongMapProto(Message):
    key: str = string(1, required=True)
    value: int = int64(2, required=True)


class ApplicationResourceUsageReportProto(Message):
    num_used_containers: int = int32(1)
    num_reserved_containers: int = int32(2)
    used_resources: ResourceProto | None = message(3, ResourceProto)
    reserved_resources: ResourceProto | None = message(4, ResourceProto)
    needed_resources: ResourceProto | None = message(5, ResourceProto)
    memory_seconds: int = int64(6)
    vcore_seconds: int = int64(7)
    queue_usage_percentage: float = float32(8)
    cluster_usage_percentage: float = float32(9)
    preempted_memory_seconds: int = int64(10)
    preempted_vcore_seconds: int = int64(11)
    application_resource_usage_map: list[StringLongMapProto] = message(
        12, StringLongMapProto, repeated=True
    )
    application_preempted_resource_usage_map: list[StringLongMapProto] = message(
        13, StringLongMapProto, repeated=True
    )


class LogAggregationStatusProto(IntEnum):
    LOG_DISABLED = 1
    LOG_NOT_START = 2
    LOG_RUNNING = 3
    LOG_SUCCEEDED = 4
    LOG_FAILED = 5
    LOG_TIME_OUT = 6
    LOG_RUNNING_WITH_FAILURE = 7


class ApplicationTimeoutProto(Message):
    application_timeout_type: ApplicationTimeoutTypeProto = enumeration(
        1, ApplicationTimeoutTypeProto, required=True
    )
    expire_time: str = string(2)
    remaining_time: int = int64(3)


class AppTimeoutsMapProto(Message):
    application_timeout_type: ApplicationTimeoutTypeProto = enumeration(
        1, ApplicationTimeoutTypeProto
    )
    application_timeout: ApplicationTimeoutProto | None = message(2, ApplicationTimeoutProto)


class ApplicationReportProto(Message):
    applicationId: ApplicationIdProto | None = message(1, ApplicationIdProto)
    user: str = string(2)
    queue: str = string(3)
    name: str = string(4)
    host: str = string(5)
    rpc_port: int = int32(6)
    client_to_am_token: TokenProto | None = message(7, TokenProto)
    yarn_application_state: YarnApplicationStateProto = enumeration(8, YarnApplicationStateProto)
    trackingUrl: str = string(9)
    diagnostics: str = string(10, "N/A")
    startTime: int = int64(11)
    finishTime: int = int64(12)
    final_application_status: FinalApplicationStatusProto = enumeration(
        13, FinalApplicationStatusProto
    )
    app_resource_Usage: ApplicationResourceUsageReportProto | None = message(
        14, ApplicationResourceUsageReportProto
    )
    originalTrackingUrl: str = string(15)
    currentApplicationAttemptId: ApplicationAttemptIdProto | None = message(
        16, ApplicationAttemptIdProto
    )
    progress: float = float32(17)
    applicationType: str = string(18)
    am_rm_token: TokenProto | None = message(19, TokenProto)
    applicationTags: list[str] = string(20, repeated=True)
    log_aggregation_status: LogAggregationStatusProto = enumeration(21, LogAggregationStatusProto)
    unmanaged_application: bool = boolean(22)
    priority: PriorityProto | None = message(23, PriorityProto)
    appNodeLabelExpression: str = string(24)
    amNodeLabelExpression: str = string(25)
    appTimeouts: list[AppTimeoutsMapProto] = message(26, AppTimeoutsMapProto, repeated=True)
    launchTime: int = int64(27)
    submitTime: int = int64(28)


class GetApplicationReportResponseProto(Message):
    application_report: ApplicationReportProto | None = message(1, ApplicationReportProto)


class ApplicationsRequestScopeProto(IntEnum):
    ALL = 0
    VIEWABLE = 1
    OWN = 2


class GetApplicationsRequestProto(Message):
    application_types: list[str] = string(1, repeated=True)
    application_states: list[YarnApplicationStateProto] = enumeration(
        2, YarnApplicationStateProto, repeated=True
    )
    users: list[str] = string(3, repeated=True)
    queues: list[str] = string(4, repeated=True)
    limit: int = int64(5)
    start_begin: int = int64(6)
    start_end: int = int64(7)
    finish_begin: int = int64(8)
    finish_end: int = int64(9)
    applicationTags: list[str] = string(10, repeated=True)
    scope: ApplicationsRequestScopeProto = enumeration(
        11, ApplicationsRequestScopeProto, ApplicationsRequestScopeProto.ALL
    )
    name: str = string(12)


class GetApplicationsResponseProto(Message):
    applications: list[ApplicationReportProto] = message(1, ApplicationReportProto, repeated=True)


class KillApplicationRequestProto(Message):
    application_id: ApplicationIdProto | None = message(1, ApplicationIdProto)
    diagnostics: str = string(2)


class KillApplicationResponseProto(Message):
    is_kill_completed: bool = boolean(1)


class GetClusterNodesRequestProto(Message):
    nodeStates: list[NodeStateProto] = enumeration(1, NodeStateProto, repeated=True)


class GetClusterNodesResponseProto(Message):
    nodeReports: list[NodeReportProto] = message(1, NodeReportProto, repeated=True)


class GetQueueInfoRequestProto(Message):
    queueName: str = string(1)
    includeApplications: bool = boolean(2)
    includeChildQueues: bool = boolean(3)
    recursive: bool = boolean(4)


class QueueStateProto(IntEnum):
    Q_STOPPED = 1
    Q_RUNNING = 2
    Q_DRAINING = 3


class QueueInfoProto(Message):
    queueName: str = string(1)
    capacity: float = float32(2)
    maximumCapacity: float = float32(3)
    currentCapacity: float = float32(4)
    state: QueueStateProto = enumeration(5, QueueStateProto)
    accessibleNodeLabels: list[str] = string(8, repeated=True)
    defaultNodeLabelExpression: str = string(9)
    preemptionDisabled: bool = boolean(11)
    intraQueuePreemptionDisabled: bool = boolean(13)


class GetQueueInfoResponseProto(Message):
    queueInfo: QueueInfoProto | None = message(1, QueueInfoProto)


class GetClusterNodeLabelsRequestProto(Message):
    pass


class NodeLabelProto(Message):
    name: str = string(1)
    isExclusive: bool = boolean(2, True)


class GetClusterNodeLabelsResponseProto(Message):
    deprecatedNodeLabels: list[str] = string(1, repeated=True)
    nodeLabels: list[NodeLabelProto] = message(2, NodeLabelProto, repeated=True)


class GetApplicationAttemptsRequestProto(Message):
    application_id: ApplicationIdProto | None = message(1, ApplicationIdProto)


class YarnApplicationAttemptStateProto(IntEnum):
    APP_ATTEMPT_NEW = 1
    APP_ATTEMPT_SUBMITTED = 2
    APP_ATTEMPT_SCHEDULED = 3
    APP_ATTEMPT_ALLOCATED_SAVING = 4
    APP_ATTEMPT_ALLOCATED = 5
    APP_ATTEMPT_LAUNCHED = 6
    APP_ATTEMPT_FAILED = 7
    APP_ATTEMPT_RUNNING = 8
    APP_ATTEMPT_FINISHING = 9
    APP_ATTEMPT_FINISHED = 10
    APP_ATTEMPT_KILLED = 11


class ApplicationAttemptReportProto(Message):
    application_attempt_id: ApplicationAttemptIdProto | None = message(1, ApplicationAttemptIdProto)
    host: str = string(2)
    rpc_port: int = int32(3)
    tracking_url: str = string(4)
    diagnostics: str = string(5, "N/A")
    yarn_application_attempt_state: YarnApplicationAttemptStateProto = enumeration(
        6, YarnApplicationAttemptStateProto
    )
    am_container_id: ContainerIdProto | None = message(7, ContainerIdProto)
    original_tracking_url: str = string(8)
    startTime: int = int64(9)
    finishTime: int = int64(10)


class GetApplicationAttemptsResponseProto(Message):
    application_attempts: list[ApplicationAttemptReportProto] = message(
        1, ApplicationAttemptReportProto, repeated=True
    )


class GetContainersRequestProto(Message):
    application_attempt_id: ApplicationAttemptIdProto | None = message(1, ApplicationAttemptIdProto)


class ContainerReportProto(Message):
    container_id: ContainerIdProto | None = message(1, ContainerIdProto)
    resource: ResourceProto | None = message(2, ResourceProto)
    node_id: NodeIdProto | None = message(3, NodeIdProto)
    priority: PriorityProto | None = message(4, PriorityProto)
    creation_time: int = int64(5)
    finish_time: int = int64(6)
    diagnostics_info: str = string(7, "N/A")
    log_url: str = string(8)
    container_exit_status: int = int32(9)
    container_state: ContainerStateProto = enumeration(10, ContainerStateProto)
    node_http_address: str = string(11)
    exposed_ports: str = string(13)


class GetContainersResponseProto(Message):
    containers: list[ContainerReportProto] = message(1, ContainerReportProto, repeated=True)


class ApplicationUpdateTimeoutMapProto(Message):
    application_timeout_type: ApplicationTimeoutTypeProto = enumeration(
        1, ApplicationTimeoutTypeProto
    )
    expire_time: str = string(2)


class UpdateApplicationTimeoutsRequestProto(Message):
    applicationId: ApplicationIdProto | None = message(1, ApplicationIdProto, required=True)
    application_timeouts: list[ApplicationUpdateTimeoutMapProto] = message(
        2, ApplicationUpdateTimeoutMapProto, repeated=True
    )


class UpdateApplicationTimeoutsResponseProto(Message):
    application_timeouts: list[ApplicationUpdateTimeoutMapProto] = message(
        1, ApplicationUpdateTimeoutMapProto, repeated=True
    )
