"""Parts shared by several messages: resources, scheduling classes, jobs, node facts.

Used by the other modules of this package.  Defines no message itself.

Resource amounts are integers in units of 1/10000 (`UNIT`), so that sums of fractions are exact.
"""

import msgspec

UNIT = 10_000
Resources = dict[str, int]
# For a runtime environment's worker_process_setup_hook: the file that holds its pickle, and the
# name by which a worker finds it, or a function of a module.
HOOK_FILE = "setup_hook.pickle"
SETUP_HOOK_VARIABLE = "RAYHPC_WORKER_SETUP_HOOK"


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A part of a message: a fixed sequence of typed fields."""


class Labels(Record, frozen=True):
    """Conditions on node labels; `op` says how to read `values`: in, not_in, exists, not_exists."""

    key: str
    op: str
    values: list[str] = []


class Strategy(Record, frozen=True):
    """Where a task or actor may run.

    `kind` is one of default, spread, node, labels, group.  `node` is a node id in hex (node
    affinity); `soft` lets it run elsewhere.  `group` and `bundle` name a placement group's bundle
    (-1: any).  `hard` and `wish` are label conditions that must hold and that are preferred.
    `seconds` is how long it runs at most: it goes only where there is so much time left (0: it does
    not say).
    """

    kind: str = "default"
    node: str = ""
    soft: bool = False
    group: bytes = b""
    bundle: int = -1
    hard: list[Labels] = []
    wish: list[Labels] = []
    seconds: float = 0.0


DEFAULT_STRATEGY = Strategy()


class SchedulingClass(Record, frozen=True):
    """Tasks that need the same resources, environment and placement; they share leases.

    `environment` is the runtime environment as canonical JSON (empty: none).  `job` is the number
    of the job whose modules and folder the worker needs.  `near` is the node with most of the
    bytes that the tasks take as arguments (0: they take few).
    """

    resources: Resources
    strategy: Strategy = DEFAULT_STRATEGY
    environment: bytes = b""
    job: int = 0
    near: int = 0


class JobConfig(Record, frozen=True):
    """What a worker must know about a job before it runs its first task.

    `driver` is the driver's address; `path` its sys.path, `folder` its working directory,
    `preload` the modules it had imported, `environment` its runtime environment as JSON.  The
    worker first calls `setup` (lines of module:function, each with its argument, if it has one).
    `detached`: its actors outlive their owner, unless their options say otherwise.
    """

    number: int
    driver: int
    namespace: str
    path: list[str]
    folder: str
    preload: list[str]
    environment: bytes = b""
    log_to_driver: bool = True
    entrypoint: str = ""
    pid: int = 0
    started: float = 0.0
    setup: str = ""
    detached: bool = False


class NodeInfo(Record, frozen=True):
    """What the cluster knows about a node, constant for the node's life.

    `endpoints` are (ip, port) pairs of the raylet's listener, best first; `key` its public key.
    """

    number: int
    node_id: str
    ip: str
    hostname: str
    endpoints: list[tuple[str, int]]
    key: bytes
    total: Resources
    labels: dict[str, str]
    store_bytes: int
    is_head: bool
    pid: int
    session_dir: str
    rank: int = 0


class Stored(Record, frozen=True):
    """A value that is in a node's object store instead of in the message."""

    size: int
    node: int


class Grant(Record, frozen=True):
    """A lease as the worker sees it: what it may use, and for whom.

    `devices` maps a resource name (GPU) to the ids the worker may see.  `group` is the placement
    group the lease was taken from, `bundle` its bundle.
    """

    lease: int
    job: int
    resources: Resources
    devices: dict[str, list[str]] = {}
    group: bytes = b""
    bundle: int = -1
    environment: bytes = b""
