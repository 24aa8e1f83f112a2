"""How a container is started: its files, environment, command.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from enum import IntEnum

from rayhpc.hadoop.messages.records import StringBytesMapProto, StringStringMapProto
from rayhpc.hadoop.protobuf import (
    Message,
    boolean,
    bytestring,
    enumeration,
    int32,
    int64,
    message,
    string,
)


class URLProto(Message):
    scheme: str = string(1)
    host: str = string(2)
    port: int = int32(3)
    file: str = string(4)
    userInfo: str = string(5)


class LocalResourceTypeProto(IntEnum):
    ARCHIVE = 1
    FILE = 2
    PATTERN = 3


class LocalResourceVisibilityProto(IntEnum):
    PUBLIC = 1
    PRIVATE = 2
    APPLICATION = 3


class LocalResourceProto(Message):
    resource: URLProto | None = message(1, URLProto)
    size: int = int64(2)
    timestamp: int = int64(3)
    type: LocalResourceTypeProto = enumeration(4, LocalResourceTypeProto)
    visibility: LocalResourceVisibilityProto = enumeration(5, LocalResourceVisibilityProto)
    pattern: str = string(6)
    should_be_uploaded_to_shared_cache: bool = boolean(7)


class StringLocalResourceMapProto(Message):
    key: str = string(1)
    value: LocalResourceProto | None = message(2, LocalResourceProto)


class ApplicationAccessTypeProto(IntEnum):
    APPACCESS_VIEW_APP = 1
    APPACCESS_MODIFY_APP = 2


class ApplicationACLMapProto(Message):
    accessType: ApplicationAccessTypeProto = enumeration(1, ApplicationAccessTypeProto)
    acl: str = string(2, " ")


class ContainerRetryPolicyProto(IntEnum):
    NEVER_RETRY = 0
    RETRY_ON_ALL_ERRORS = 1
    RETRY_ON_SPECIFIC_ERROR_CODES = 2


class ContainerRetryContextProto(Message):
    retry_policy: ContainerRetryPolicyProto = enumeration(
        1, ContainerRetryPolicyProto, ContainerRetryPolicyProto.NEVER_RETRY
    )
    error_codes: list[int] = int32(2, repeated=True)
    max_retries: int = int32(3)
    retry_interval: int = int32(4)
    failures_validity_interval: int = int64(5, -1)


class ContainerLaunchContextProto(Message):
    localResources: list[StringLocalResourceMapProto] = message(
        1, StringLocalResourceMapProto, repeated=True
    )
    tokens: bytes = bytestring(2)
    service_data: list[StringBytesMapProto] = message(3, StringBytesMapProto, repeated=True)
    environment: list[StringStringMapProto] = message(4, StringStringMapProto, repeated=True)
    command: list[str] = string(5, repeated=True)
    application_ACLs: list[ApplicationACLMapProto] = message(
        6, ApplicationACLMapProto, repeated=True
    )
    container_retry_context: ContainerRetryContextProto | None = message(
        7, ContainerRetryContextProto
    )
    tokens_conf: bytes = bytestring(8)


class LogAggregationContextProto(Message):
    include_pattern: str = string(1, ".*")
    exclude_pattern: str = string(2)
    rolled_logs_include_pattern: str = string(3)
    rolled_logs_exclude_pattern: str = string(4, ".*")
    log_aggregation_policy_class_name: str = string(5)
    log_aggregation_policy_parameters: str = string(6)
