"""Several nodes on one machine, each with its own raylet, object store and loopback address.

Used by `cluster_utils.Cluster`, for testing programs without a batch system.  All nodes depend on
this process: they end with it, however it ends.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import node_config
from rayhpc.launch.observer import Observer
from rayhpc.launch.options import NodeOptions
from rayhpc.launch.spawn import NodeProcess
from rayhpc.wire.messages.listings import NodeState

_PAUSE_S = 0.01


@dataclass(frozen=True)
class LocalNode:
    """A running node of a `LocalCluster`."""

    process: NodeProcess
    node_id: str
    number: int
    node_ip: str
    session_dir: str


class LocalCluster:
    """A cluster whose nodes all run on this machine.

    Nodes get 127.0.0.1, 127.0.0.2 and so on unless given an address.  The first one added hosts the
    head, and the cluster ends with it.
    """

    def __init__(self) -> None:
        cluster = node_config.new_cluster()
        self._key, self._head_keys = cluster.key, cluster.head
        self._added = 0
        self._head: LocalNode | None = None
        self.nodes: list[LocalNode] = []
        self.address = ""

    @property
    def head(self) -> LocalNode:
        """The head's node.  Raises LaunchError if there is none (any more)."""
        if self._head is not None:
            return self._head
        if self.nodes:
            text = "the cluster has lost its head and is ending: shut it down and create another"
        else:
            text = "the cluster has no node yet: add one"
        raise LaunchError(text, ExitCode.CONFIGURATION)

    def add_node(self, options: NodeOptions | None = None) -> LocalNode:
        """Start a node, wait until it is ready, and return it.

        Raises:
            LaunchError: an invalid option, the node fails to start, or the head is gone.
        """
        head = self.head if self.nodes else None
        wanted = options or NodeOptions()
        process = NodeProcess()
        try:
            node = self._start(process, wanted)
        except BaseException:
            process.stop()
            raise
        self.nodes.append(node)
        self._head = head or node
        return node

    def remove_node(self, node: LocalNode, *, graceful: bool = True) -> None:
        """End a node, gracefully or as a crash would.

        If it was the head's node, the others notice and end as well.
        """
        self.nodes.remove(node)
        if node is self._head:
            self._head = None
        if graceful:
            node.process.stop()
        else:
            node.process.kill()

    def wait_for_nodes(self, count: int | None = None, timeout_s: float = 30.0) -> list[NodeState]:
        """Wait until exactly `count` nodes (None: all that were added and not removed) are alive.

        Raises:
            LaunchError: they are not, in time.
        """
        wanted = len(self.nodes) if count is None else count
        deadline = time.monotonic() + timeout_s
        with Observer(self.head.session_dir) as observer:
            while True:
                alive = [each for each in observer.nodes() if each.alive]
                if len(alive) == wanted:
                    return alive
                if time.monotonic() >= deadline:
                    raise LaunchError(
                        f"{len(alive)} of {wanted} nodes are alive after {timeout_s:g} s",
                        ExitCode.TOO_FEW_NODES,
                    )
                time.sleep(_PAUSE_S)

    def shutdown(self) -> None:
        """End all nodes, the head's last, and wait until they have ended."""
        for node in reversed(self.nodes):
            node.process.let_go()
        while self.nodes:
            self.nodes.pop().process.stop()
        self._head = None

    def _start(self, process: NodeProcess, options: NodeOptions) -> LocalNode:
        first = not self.nodes
        place = node_config.look_around(os.environ, rank=0, size=1)
        self._added += 1
        if options.node_ip is None and options.interface is None:
            options = replace(options, node_ip=loopback_address(self._added))
        plan = node_config.make_plan(
            place,
            options,
            self._key,
            kind="embedded",
            head=self._head_keys if first else None,
            rank=self._added - 1,
        )
        process.send(plan)
        ready = process.wait_ready()
        record = process.record()
        if first:
            self.address = record.address
            self._key = record.completed(self._key)
        return LocalNode(process, ready.node_id, ready.node, record.node_ip, record.session_dir)


def loopback_address(number: int) -> str:
    """The address of local node `number` (starting at 1): 127.0.0.1, 127.0.0.2, …"""
    high, low = divmod(number - 1, 254)
    return f"127.0.{high}.{low + 1}"
