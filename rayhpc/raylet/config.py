"""What a node's launcher decides about it, once, before its raylet starts.

Made by `launch.node_plan`, read by every module here.  Reaches the node process on an inherited
descriptor, never through argv or the environment: it holds the cluster's key.
"""

from __future__ import annotations

import os

import msgspec

from rayhpc.wire.keys import ClusterKey
from rayhpc.wire.messages.common import UNIT, Resources

# Exit codes of a node (all of them: `exit_codes`).
INTERNAL, HEAD_LOST, REFUSED, NODE_LOST = 70, 71, 73, 76
# What comes through the life pipe before its end if whoever holds it ends us, and has not died.
IN_ORDER = b"."

# How many runs a node remembers unless it is told otherwise: 16 MiB if they are many a second.
RUNS_KEPT = 500_000

PortRange = tuple[int, int] | None


class NodeConfig(msgspec.Struct, kw_only=True):
    """One node.

    `session_dir` exists, 0700, empty of `raylet.sock` and `p/`.  `total` is in units of 1/10000;
    memory amounts in it are units of bytes.  `bind` are the addresses to listen on (each bound
    with the same port where possible), `port` 0 a free one, inside `ports` if that is given.
    `gpu_ids` are opaque; `gpu_variable` names the variable that selects among them.
    `memory_limit` is what all processes of this node together may use, in bytes; 0: only the
    control group's limit counts; with `counts_shared` what processes share counts once for each.
    `prestart` workers are started before anybody asks.
    `runs_kept` is how many tasks and calls that its workers have run the raylet remembers, 32 bytes
    each and a little more.
    """

    session_dir: str
    cluster: ClusterKey
    node_ip: str
    bind: list[str]
    hostname: str
    total: Resources
    store_bytes: int
    python: str
    version: str
    port: int = 0
    ports: PortRange = None
    rank: int = 0
    is_head: bool = False
    node_id: str = ""
    labels: dict[str, str] = {}
    gpu_ids: list[str] = []
    gpu_variable: str = "CUDA_VISIBLE_DEVICES"
    spill_dirs: list[str] = []
    memory_limit: int = 0
    counts_shared: bool = False
    prestart: int = 2
    runs_kept: int = RUNS_KEPT

    @property
    def cpus(self) -> int:
        """Whole CPUs of this node, at least 1: the size of the worker pool."""
        return max(1, self.total.get("CPU", 0) // UNIT)


def new_node_id() -> str:
    """A fresh node id: 56 hex digits, as long as Ray's."""
    return os.urandom(28).hex()
