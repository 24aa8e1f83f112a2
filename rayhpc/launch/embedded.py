"""A one-node cluster inside a program: what `init()` without an address starts.

Called only by `api.session`.  The node depends on a pipe that this process holds: however the
program ends, the kernel closes the pipe, and the node ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from rayhpc.launch.spawn import NodeProcess


class EmbeddedSession:
    """A running embedded node.

    `session_dir` is where a driver attaches, `address` the head's ip:port, `kernel_session` as in
    `runtime.process.driver.connect`.
    """

    def __init__(
        self,
        process: NodeProcess,
        session_dir: str,
        address: str,
        node_id: str,
        kernel_session: int | None = None,
    ) -> None:
        self.session_dir = session_dir
        self.address = address
        self.kernel_session = kernel_session
        self.node_id = node_id
        self._process = process

    @property
    def pid(self) -> int:
        """The node process's pid."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the node is still running."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the node and everything below it, and wait until that is done."""
        self._process.stop()


def start(
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    memory: int | None = None,
    object_store_memory: int | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    session_dir: str | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> EmbeddedSession:
    """Start a node with a head on this machine's loopback, for this process only.

    Args:
        num_cpus: CPUs to offer; None: those of this machine and allocation.
        num_gpus: the same for GPUs.
        memory: bytes that tasks may request; None: as `rayhpc doctor` shows.
        object_store_memory: bytes of the object store; None: 30 % of the memory.
        resources: custom resources by name.
        labels: node labels.
        session_dir: where to create the session's private directory; None: the usual place.
        meanwhile: called once while the node starts, to load modules without losing time.

    Raises:
        LaunchError: an invalid argument, or the node fails to start; the text says why.
    """
    # The node's interpreter starts while we examine the machine.
    process = NodeProcess()
    try:
        from rayhpc.launch import node_config
        from rayhpc.launch.options import NodeOptions

        options = NodeOptions(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            memory=memory,
            object_store_memory=object_store_memory,
            resources=resources or {},
            labels=labels or {},
            node_ip=node_config.LOOPBACK,
            session_dir=session_dir,
        )
        place = node_config.look_around(os.environ, rank=0, size=1)
        cluster = node_config.new_cluster()
        plan = node_config.make_plan(
            place, options, cluster.key, kind="embedded", head=cluster.head
        )
        process.send(plan)
        if meanwhile is not None:
            meanwhile()
        ready = process.wait_ready()
        record = process.record()
    except BaseException:
        process.stop()
        raise
    return EmbeddedSession(
        process, record.session_dir, record.address, ready.node_id, plan.raylet.attach_from
    )
