"""An ApplicationMaster's side of the NodeManagers: start containers, stop them, query them.

Used by an ApplicationMaster's loop.  One connection per call: NodeManagers are called rarely, and
their tokens change when they restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.messages.containers import (
    ContainerExceptionMapProto,
    GetContainerStatusesRequestProto,
    GetContainerStatusesResponseProto,
    ReInitializeContainerRequestProto,
    ReInitializeContainerResponseProto,
    StartContainerRequestProto,
    StartContainersRequestProto,
    StartContainersResponseProto,
    StopContainersRequestProto,
    StopContainersResponseProto,
)
from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto
from rayhpc.hadoop.messages.records import (
    ContainerIdProto,
    ContainerProto,
    ContainerStatusProto,
    SerializedExceptionProto,
)
from rayhpc.hadoop.rpc.connection import Connection
from rayhpc.hadoop.tokens import Token

PROTOCOL = "org.apache.hadoop.yarn.api.ContainerManagementProtocolPB"
_TIMEOUT_S = 20.0


class NodeManager:
    """One node, as the master of an application can call it.

    Every method raises RemoteError for the server's exceptions and OSError if it cannot be reached.

    Args:
        address: host and port.
        token: for this node, from the ResourceManager.
    """

    def __init__(self, address: tuple[str, int], token: Token) -> None:
        self._address, self._token = address, token

    def start(self, container: ContainerProto, context: ContainerLaunchContextProto) -> None:
        """Run what `context` describes in an allocated container."""
        request = StartContainersRequestProto(
            start_container_request=[
                StartContainerRequestProto(
                    container_launch_context=context, container_token=container.container_token
                )
            ]
        )
        with self._connect() as connection:
            answer = connection.call("startContainers", request, StartContainersResponseProto)
        _raise_first(answer.failed_requests)

    def start_again(
        self, container: ContainerIdProto, context: ContainerLaunchContextProto
    ) -> None:
        """End what runs in a container, then run what `context` describes there.

        Its credentials remain those of its first start, whatever `context` says.
        """
        request = ReInitializeContainerRequestProto(
            container_id=container, container_launch_context=context, auto_commit=True
        )
        with self._connect() as connection:
            connection.call("reInitializeContainer", request, ReInitializeContainerResponseProto)

    def stop(self, containers: Sequence[ContainerIdProto]) -> None:
        """End containers; one that has already ended is no error."""
        request = StopContainersRequestProto(container_id=list(containers))
        with self._connect() as connection:
            connection.call("stopContainers", request, StopContainersResponseProto)

    def statuses(self, containers: Sequence[ContainerIdProto]) -> list[ContainerStatusProto]:
        """The states of containers; those unknown to the node are left out."""
        request = GetContainerStatusesRequestProto(container_id=list(containers))
        with self._connect() as connection:
            answer = connection.call(
                "getContainerStatuses", request, GetContainerStatusesResponseProto
            )
        return answer.status

    def _connect(self) -> Connection:
        return Connection(self._address, PROTOCOL, token=self._token, timeout_s=_TIMEOUT_S)


def _raise_first(failed: Sequence[ContainerExceptionMapProto]) -> None:
    for each in failed:
        error = each.exception or SerializedExceptionProto()
        raise RemoteError(error.class_name, error.message)
