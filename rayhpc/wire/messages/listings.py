"""What questions about a cluster are answered with: the rows of its listings, and their history.

Sent by the head, raylets and processes in a `Reply` (`cluster`); read by `api`, `observe`, `cli`.
"""

from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.common import JobConfig, NodeInfo, Record, Resources


class NodeState(Record, frozen=True):
    """A node as `nodes()` and `status` show it; `ended` is why it is gone (empty: alive).

    `joined` and `left` are when, in seconds since the epoch (0: it has not left).
    `skew` is how many seconds its clock was ahead of the head's when it joined; `errors` and
    `last_error`, `memory`, `memory_limit` and `moved` are as in `Heartbeat`.
    """

    info: NodeInfo
    alive: bool
    available: Resources
    ended: str = ""
    store_used: int = 0
    store_spilled: int = 0
    workers: int = 0
    pending: int = 0
    draining: bool = False
    skew: float = 0.0
    errors: int = 0
    last_error: str = ""
    joined: float = 0.0
    left: float = 0.0
    memory: int = 0
    memory_limit: int = 0
    moved: Moved = Moved()


class ClusterState(Record, frozen=True):
    """The cluster at a glance; `demand` as in `Heartbeat`, summed over all nodes.

    `errors` and `last_error` are the head's own.
    """

    cluster_id: str
    started: float
    nodes: list[NodeState]
    actors: dict[str, int]
    groups: dict[str, int]
    jobs: int
    demand: list[tuple[Resources, int, str]]
    errors: int = 0
    last_error: str = ""


class NodeSample(Record, frozen=True):
    """A node during one interval that begins at `at` (seconds since the epoch).

    The minimum of free CPU and GPU (units of 1/10000), the maximum in the store and on disk, the
    maximum of waiting leases and of `memory` and `memory_limit` (as in `Heartbeat`); `moved` at the
    end of the interval.
    """

    at: float
    free_cpus: int
    free_gpus: int
    store_used: int
    store_spilled: int
    pending: int
    moved: Moved
    memory: int = 0
    memory_limit: int = 0


class NodeHistory(Record, frozen=True):
    """The samples of one node, oldest first, each `every` seconds long."""

    node: int
    every: float
    samples: list[NodeSample]


class JobRow(Record, frozen=True):
    """A job: its driver, and when it ran (seconds since the epoch; `ended` 0: still running)."""

    job: JobConfig
    alive: bool
    started: float
    ended: float = 0.0
    reason: str = ""


class ObjectRow(Record, frozen=True):
    """An object as `list_objects` shows it; `kind` says how it is held."""

    oid: bytes
    size: int
    kind: str
    node: int
    pid: int
    state: str = ""
    call_site: str = ""
    count: int = 0


class WorkerRow(Record, frozen=True):
    """A process of a node: a driver or a worker (idle, leased, or an actor's).

    `exit_type` (Ray's term for how it ended) and `exit_detail` are empty while it lives; `started`
    and `ended` are in seconds since the epoch, 0: not known, or it has not ended.
    """

    address: int
    pid: int
    kind: str
    state: str
    job: int = 0
    actor: bytes = b""
    lease: int = 0
    exit_type: str = ""
    exit_detail: str = ""
    started: float = 0.0
    ended: float = 0.0
