"""`Cluster`: several nodes on this machine, for testing programs.

Used by tests of programs.  Each node has its own raylet, object store and loopback address; all
of them end with this process.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rayhpc
from rayhpc.api.tasks import option_checks
from rayhpc.exceptions import RaySystemError
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.cluster import LocalCluster, LocalNode
from rayhpc.launch.options import NodeOptions

# Nodes are small by default, so that many fit on one machine.
DEFAULT_CPUS = 1
DEFAULT_STORE_BYTES = 150 * 1024 * 1024
# They concern Ray's own processes; accepted without effect.
_WITHOUT_EFFECT = frozenset(
    ("dashboard_port", "env_vars", "include_dashboard", "min_worker_port", "max_worker_port")
)
_OPTIONS = {
    "num_cpus": "num_cpus",
    "num_gpus": "num_gpus",
    "memory": "memory",
    "object_store_memory": "object_store_memory",
    "resources": "resources",
    "labels": "labels",
    "node_ip_address": "node_ip",
    "node_name": "node_name",
}
# Whole numbers only; programs compute some of them as floats.
_WHOLE = ("num_cpus", "num_gpus", "memory", "object_store_memory")


class ClusterNode:
    """A node of a `Cluster`; `address` is the cluster's, as `init(address=…)` takes it."""

    def __init__(self, node: LocalNode, address: str) -> None:
        self.node = node
        self.address = address

    @property
    def node_id(self) -> str:
        """The node's id in hex."""
        return self.node.node_id

    @property
    def unique_id(self) -> str:
        """The node's id in hex."""
        return self.node.node_id

    @property
    def node_ip_address(self) -> str:
        """The node's address."""
        return self.node.node_ip

    def any_processes_alive(self) -> bool:
        """Whether the node runs: its raylet, on which all of its processes depend."""
        return self.node.process.poll() is None

    def remaining_processes_alive(self) -> bool:
        """Whether all of the node's own processes run, that is, its raylet does."""
        return self.any_processes_alive()

    def __repr__(self) -> str:
        return f"ClusterNode({self.node_ip_address}, {self.node_id})"


class Cluster:
    """A cluster on this machine whose nodes a test adds and removes.

    Args:
        initialize_head: start the head's node at once.
        connect: also connect this process to it.
        head_node_args: options of the head's node, as for `add_node`.
        shutdown_at_exit: shut it down gracefully when the interpreter exits.

    Raises:
        ValueError: connect without a head, or an invalid option.
        RaySystemError: a node fails to start.
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: dict[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        if connect and not initialize_head:
            raise ValueError("connect=True needs a head: give initialize_head=True as well.")
        if head_node_args and not initialize_head:
            raise ValueError("head_node_args need a head: give initialize_head=True as well.")
        self._cluster = LocalCluster()
        self.head_node: ClusterNode | None = None
        self.worker_nodes: list[ClusterNode] = []
        if shutdown_at_exit:
            atexit.register(self.shutdown)
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self) -> str:
        """The head's address, in the form `init(address=…)` accepts."""
        return self._cluster.address

    @property
    def gcs_address(self) -> str:
        """The same, under the name that Ray's programs know."""
        return self.address

    @property
    def global_state(self) -> Any:
        """The tables of the cluster this process is connected to, as programs for Ray read them:
        `node_table()`, `actor_table()`, `cluster_resources()` and so on.
        """
        from rayhpc.compat.served._private import state

        return state.GlobalState()

    def connect(self, namespace: str | None = None) -> Any:
        """Make this process a driver of the cluster; returns the same context as `init`.

        Args:
            namespace: as for `init`.

        Raises:
            ValueError: the cluster has no node yet.
        """
        with _understandable():
            head = self._cluster.head
        return rayhpc.init(address=head.session_dir, namespace=namespace, ignore_reinit_error=True)

    def add_node(self, wait: bool = True, **node_args: Any) -> ClusterNode:
        """Start a node; the first one hosts the head.

        Args:
            wait: ignored: the node is ready when this returns.
            node_args: num_cpus (1), num_gpus (0), memory, object_store_memory (150 MiB),
                resources, labels, node_ip_address, node_name (shown instead of this machine's).

        Raises:
            ValueError: an invalid option.
            TypeError: an unknown option.
            RaySystemError: the node fails to start.
        """
        given = {
            "num_cpus": DEFAULT_CPUS,
            "num_gpus": 0,
            "object_store_memory": DEFAULT_STORE_BYTES,
            **{k: v for k, v in node_args.items() if v is not None},
        }
        unknown = [x for x in given if x not in _OPTIONS and not _is_ignored(x)]
        if unknown:
            raise TypeError(
                f"add_node has no option {unknown[0]!r}; valid: {', '.join(sorted(_OPTIONS))}."
            )
        fields: dict[str, Any] = {
            _OPTIONS[k]: option_checks.whole_amount(k, v) if k in _WHOLE else v
            for k, v in given.items()
            if k in _OPTIONS
        }
        with _understandable():
            node = ClusterNode(self._cluster.add_node(NodeOptions(**fields)), self.address)
        if self.head_node is None:
            self.head_node = node
        else:
            self.worker_nodes.append(node)
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = True) -> None:
        """End a node.  Without the head's node the others end as well, within seconds.

        Args:
            node: what `add_node` returned.
            allow_graceful: shut it down gracefully; False: end it as a crash would.

        Raises:
            ValueError: it is not a node of this cluster (any more).
        """
        if node is not self.head_node and node not in self.worker_nodes:
            raise ValueError(f"{node!r} is not a node of this cluster.")
        if node is self.head_node and not self.worker_nodes:
            self.shutdown()
            return
        with _understandable():
            self._cluster.remove_node(node.node, graceful=allow_graceful)
        if node is self.head_node:
            self.head_node = None
        else:
            self.worker_nodes.remove(node)

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Wait until exactly the nodes that were added and not removed are alive.

        Raises:
            TimeoutError: they are not, after `timeout` seconds.
        """
        try:
            self._cluster.wait_for_nodes(timeout_s=timeout)
        except LaunchError as error:
            raise TimeoutError(f"Timed out while waiting for nodes to join: {error}") from error

    def list_all_nodes(self) -> list[ClusterNode]:
        """The nodes, the head's first."""
        head = [] if self.head_node is None else [self.head_node]
        return [*head, *self.worker_nodes]

    def shutdown(self) -> None:
        """End all nodes, and disconnect this process if it is connected."""
        if not self.list_all_nodes():
            return
        atexit.unregister(self.shutdown)
        if rayhpc.is_initialized():
            rayhpc.shutdown()
        self._cluster.shutdown()
        self.head_node = None
        self.worker_nodes = []


def _is_ignored(name: str) -> bool:
    return name.startswith("_") or name in _WITHOUT_EFFECT


@contextmanager
def _understandable() -> Iterator[None]:
    try:
        yield
    except LaunchError as error:
        if error.code == ExitCode.CONFIGURATION:
            raise ValueError(str(error)) from error
        raise RaySystemError(str(error)) from error


__all__ = ["Cluster", "ClusterNode"]
