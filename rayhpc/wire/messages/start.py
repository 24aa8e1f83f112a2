"""What a process is told about itself when it starts, before it has a socket.

Sent by a raylet: to a worker through the fork server, to a driver over the attach connection
(`bootstrap.py`).
"""

import msgspec

from rayhpc.wire.keys import KeyPair


class Facts(msgspec.Struct):
    """Who and where a process is; `job` 0 and an empty namespace come later, with its job.

    `detached`: the job's actors outlive their owner, unless their options say otherwise.
    `bind` and `ports` are where it may listen for processes of other nodes (`wire.direct_sockets`).
    `ipc_key` (secret): what the processes of this node prove to each other; None: they need not.
    """

    address: int
    cluster_id: str
    session_dir: str
    node_id: str
    node_ip: str
    job: int
    namespace: str
    environment: bytes = b""
    detached: bool = False
    bind: list[str] = []
    ports: tuple[int, int] | None = None
    ipc_key: KeyPair | None = None


class WorkerConfig(msgspec.Struct):
    """What a worker needs; the descriptors are inherited through the fork server.

    `gpu_variable` is the environment variable that names the GPUs a program may see.
    `spill_fds` are files of spilled objects, where their paths cannot be opened.
    """

    facts: Facts
    arena_fd: int
    arena_bytes: int
    slots_fd: int
    slot: int
    gpu_variable: str = "CUDA_VISIBLE_DEVICES"
    spill_fds: list[int] = []
