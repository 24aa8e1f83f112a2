"""An ApplicationMaster's side of the NodeManagers: start, stop, query.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto
from rayhpc.hadoop.messages.records import (
    ContainerIdProto,
    ContainerStatusProto,
    SerializedExceptionProto,
    StringBytesMapProto,
)
from rayhpc.hadoop.messages.security import TokenProto
from rayhpc.hadoop.protobuf import Message, boolean, message


class StartContainerRequestProto(Message):
    container_launch_context: ContainerLaunchContextProto | None = message(
        1, ContainerLaunchContextProto
    )
    container_token: TokenProto | None = message(2, TokenProto)


class StartContainersRequestProto(Message):
    start_container_request: list[StartContainerRequestProto] = message(
        1, StartContainerRequestProto, repeated=True
    )


class ContainerExceptionMapProto(Message):
    container_id: ContainerIdProto | None = message(1, ContainerIdProto)
    exception: SerializedExceptionProto | None = message(2, SerializedExceptionProto)


class StartContainersResponseProto(Message):
    services_meta_data: list[StringBytesMapProto] = message(1, StringBytesMapProto, repeated=True)
    succeeded_requests: list[ContainerIdProto] = message(2, ContainerIdProto, repeated=True)
    failed_requests: list[ContainerExceptionMapProto] = message(
        3, ContainerExceptionMapProto, repeated=True
    )


class StopContainersRequestProto(Message):
    container_id: list[ContainerIdProto] = message(1, ContainerIdProto, repeated=True)


class StopContainersResponseProto(Message):
    succeeded_requests: list[ContainerIdProto] = message(1, ContainerIdProto, repeated=True)
    failed_requests: list[ContainerExceptionMapProto] = message(
        2, ContainerExceptionMapProto, repeated=True
    )


class ReInitializeContainerRequestProto(Message):
    container_id: ContainerIdProto | None = message(1, ContainerIdProto)
    container_launch_context: ContainerLaunchContextProto | None = message(
        2, ContainerLaunchContextProto
    )
    auto_commit: bool = boolean(3, True)


class ReInitializeContainerResponseProto(Message):
    pass


class GetContainerStatusesRequestProto(Message):
    container_id: list[ContainerIdProto] = message(1, ContainerIdProto, repeated=True)


class GetContainerStatusesResponseProto(Message):
    status: list[ContainerStatusProto] = message(1, ContainerStatusProto, repeated=True)
    failed_requests: list[ContainerExceptionMapProto] = message(
        2, ContainerExceptionMapProto, repeated=True
    )
