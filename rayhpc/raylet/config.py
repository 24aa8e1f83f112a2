"""What a node's launcher decides about it, once, before its raylet starts.

Created by `launch.node_plan`, read by every module here.  Reaches the node process through an
inherited descriptor, never through argv or the environment: it contains the cluster's key.
"""

from __future__ import annotations

import os

import msgspec

from rayhpc.wire.keys import ClusterKey, KeyPair
from rayhpc.wire.messages.common import UNIT, Resources

# Exit codes of a node (all of them: `exit_codes`).
INTERNAL, HEAD_LOST, REFUSED, NODE_LOST = 70, 71, 73, 76
# Sent through the life pipe before it closes if its holder ends us deliberately.
IN_ORDER = b"."

# How many runs a node keeps by default: 16 MiB if there are many a second.
RUNS_KEPT = 500_000

PortRange = tuple[int, int] | None


class NodeConfig(msgspec.Struct, kw_only=True):
    """One node.

    `session_dir` exists, 0700, without `raylet.sock` and `p/`.  `total` is in units of 1/10000;
    memory amounts in it are bytes.  `bind` are the addresses to listen on (each with the same port
    where possible), `port` 0 means a free one, inside `ports` if given.
    `gpu_ids` are opaque; `gpu_variable` names the variable that selects among them.
    `memory_limit` is what all processes of this node together may use, in bytes; 0: only the
    control group's limit counts; with `counts_shared` shared memory counts once for each process.
    `prestart` workers are started before anyone asks.
    `runs_kept` is how many of its workers' runs (tasks and calls) the raylet keeps, at a little
    over 40 bytes each.
    `ipc_key` is set where other users have our uid (`machine.shared_uid`): what this node's
    processes prove to each other; `attach_from` is then the only kernel session (setsid) whose
    processes may attach (None: all).
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
    ipc_key: KeyPair | None = None
    attach_from: int | None = None

    @property
    def cpus(self) -> int:
        """The number of whole CPUs on this node, at least 1: the size of the worker pool."""
        return max(1, self.total.get("CPU", 0) // UNIT)


def new_node_id() -> str:
    """A new node id: 56 hex digits, as long as Ray's."""
    return os.urandom(28).hex()
