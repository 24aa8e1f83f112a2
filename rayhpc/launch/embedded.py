"""A cluster of one node inside a program: what `init()` without an address starts.

Called by `api.session` alone.  The node hangs on a pipe that this process holds: however the
program ends, the kernel closes it, and the node ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from rayhpc.launch.spawn import NodeProcess


class EmbeddedSession:
    """A running embedded node.

    `session_dir` is what a driver attaches to, `address` the head's ip:port.
    """

    def __init__(self, process: NodeProcess, session_dir: str, address: str, node_id: str) -> None:
        self.session_dir = session_dir
        self.address = address
        self.node_id = node_id
        self._process = process

    @property
    def pid(self) -> int:
        """The node process's pid."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the node still lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the node and everything below it, and wait for that."""
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
    """Start a node with a head on this machine's loopback, for this process alone.

    Args:
        num_cpus: CPUs to offer; None: what this machine and allocation give.
        num_gpus: the same for GPUs.
        memory: bytes that tasks may ask for; None: as `rayhpc doctor` shows.
        object_store_memory: bytes of the object store; None: 30 % of the memory.
        resources: further resources by name.
        labels: node labels.
        session_dir: where to make the session's private directory; None: as usual.
        meanwhile: called once while the node starts: what can be loaded in that time costs none.

    Raises:
        LaunchError: an argument that cannot be, or the node does not start; says why.
    """
    # The interpreter of the node starts while we look at the machine.
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
    return EmbeddedSession(process, record.session_dir, record.address, ready.node_id)
