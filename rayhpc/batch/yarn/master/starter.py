"""Starts ranks in containers, in threads: an unresponsive NodeManager holds nobody else up.

Used by `loop`, which is told how each start went.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rayhpc.batch.yarn import launching, sealing
from rayhpc.batch.yarn.application import (
    RECORD_SECRET,
    SEALED_RECORD,
    SHARED_SECRET,
    Application,
    Resource,
)
from rayhpc.batch.yarn.master.actions import Launch
from rayhpc.batch.yarn.master.events import Event, Started, StartFailed
from rayhpc.batch.yarn.talk import AddRank
from rayhpc.hadoop.errors import HadoopError
from rayhpc.hadoop.master import Master
from rayhpc.hadoop.messages.launch import ContainerLaunchContextProto
from rayhpc.hadoop.messages.records import ContainerProto
from rayhpc.hadoop.node_manager import NodeManager
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import AMRM_KIND, Credentials

_THREADS = 16


class Starter:
    """What every rank except 0 is started with, and the threads that do it.

    Args:
        application: what runs.
        resources: the files of every container.
        master: has the tokens of the NodeManagers.
        credentials: the ApplicationMaster's; its own token is not passed on.
        tell: receives the resulting event, in one of the threads.
    """

    def __init__(
        self,
        application: Application,
        resources: Sequence[Resource],
        master: Master,
        credentials: Credentials,
        tell: Callable[[Event], None],
    ) -> None:
        self._application, self._resources = application, resources
        self._master, self._tell = master, tell
        self._credentials = credentials.without(AMRM_KIND)
        self._nodes: dict[int, AddRank] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "start-container")

    def set_record(self, record: bytes) -> None:
        """Set the record that ranks join the head with; secret."""
        self._credentials.secrets[RECORD_SECRET] = record

    def set_node(self, told: AddRank) -> None:
        """Set the labels and options of an added rank's node."""
        self._nodes[told.rank] = told

    def start(self, launch: Launch, container: ContainerProto) -> None:
        """Begin starting a rank."""
        self._threads.submit(self._start, launch, container)

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, launch: Launch, container: ContainerProto) -> None:
        event: Event = Started(launch.container)
        try:
            node, context = self._node_manager(container), self._context(launch, container)
            if launch.again and container.id is not None:
                node.start_again(container.id, context)
            else:
                node.start(container, context)
        except (OSError, HadoopError, KeyError) as error:
            event = StartFailed(launch.container, str(error) or type(error).__name__)
        self._tell(event)

    def _node_manager(self, container: ContainerProto) -> NodeManager:
        assert container.nodeId is not None
        address = container.nodeId.host, container.nodeId.port
        return NodeManager(address, self._master.nm_tokens[address])

    def _context(self, launch: Launch, container: ContainerProto) -> ContainerLaunchContextProto:
        memory = Size.of(container.resource).memory_mib
        environment = launching.container_environment(
            self._application, launch.rank, memory, self._nodes.get(launch.rank), os.environ
        )
        if launch.again:
            known = self._credentials.secrets
            sealed = sealing.seal(known[RECORD_SECRET], known[SHARED_SECRET])
            environment[SEALED_RECORD] = sealed
        return launching.launch_context(
            self._application,
            launching.CONTAINER,
            self._resources,
            environment,
            self._credentials,
        )
