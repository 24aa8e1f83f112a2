"""Actors and placement groups: messages between owners, callers, the head and the raylets.

Sent by `runtime`, `head` and `raylet`.
"""

from rayhpc.wire.messages.common import Record, Resources, SchedulingClass
from rayhpc.wire.messages.registry import Message
from rayhpc.wire.messages.tasks import Dependency

# Actor states, as Ray names them
PENDING = "PENDING_CREATION"
RESTARTING = "RESTARTING"
ALIVE = "ALIVE"
DEAD = "DEAD"

# Group states
GROUP_PENDING = "PENDING"
GROUP_CREATED = "CREATED"
GROUP_REMOVED = "REMOVED"
GROUP_RESCHEDULING = "RESCHEDULING"


class ActorSpec(Record, frozen=True):
    """Everything needed to start an actor, and to restart it.

    `placing` is the class it is placed with, `holding` what it keeps while it lives.  `args` and
    `deps` are the constructor's, as in `Task`; `definition` is the pickled class, `methods` its
    public methods with their own options (pickled; read only by the API).  `max_restarts` and
    `max_task_retries` of -1 mean unlimited.  `detached` actors outlive their owner.  With
    `capture_group` whatever the actor submits runs in its placement group as well.  `unlisted`:
    listings of tasks do not show its constructor.
    """

    actor: bytes
    owner: int
    job: int
    class_name: str
    definition_id: bytes
    definition: bytes
    methods: bytes
    args: bytes
    deps: list[Dependency]
    placing: SchedulingClass
    holding: Resources
    packed: bool = False
    name: str = ""
    namespace: str = ""
    detached: bool = False
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int = 1
    is_async: bool = False
    groups: dict[str, int] = {}
    max_pending_calls: int = -1
    capture_group: bool = False
    unlisted: bool = False


class CreateActor(Message):
    """Owner to head; answered by `ActorCreated` (same token)."""

    token: int
    spec: ActorSpec
    get_if_exists: bool = False


class ActorCreated(Message):
    """Head to owner: accepted; `existing`: the actor with that name (get_if_exists); or `error`."""

    token: int
    actor: bytes
    existing: ActorSpec | None = None
    error: str = ""


class WatchActor(Message):
    """Caller to head: tell me this actor's state, now and at each change."""

    actor: bytes


class ActorIs(Message):
    """Head to watchers.

    `address` is the process while ALIVE; `incarnation` counts its lives; `reason` says why it is
    not alive, `error` is the constructor's pickled error if that is the reason.  `has_lived` says
    that a constructor has returned before: until one has, calls simply wait.
    """

    actor: bytes
    state: str
    address: int
    incarnation: int
    reason: str = ""
    error: bytes = b""
    node_id: str = ""
    unschedulable: bool = False
    preempted: bool = False
    max_task_retries: int = 0
    has_lived: bool = False


class KillActor(Message):
    """Any process to head: kill the actor's process at once; restart it only if asked."""

    actor: bytes
    no_restart: bool = True


class ActorUnreferenced(Message):
    """Owner to head: the last handle is gone; the actor ends after its queued calls have run."""

    actor: bytes


class StartActor(Message):
    """Head to a raylet: run it here; answered by `ActorStarted`.

    Without room within that many seconds it is sent back (0: the raylet's default).
    """

    spec: ActorSpec
    incarnation: int
    within: float = 0.0


class ActorStarted(Message):
    """Raylet to head.

    `status` is ok, failed (its constructor raised `error`), busy (no room: place it again), or
    environment (its runtime environment failed: `reason`).  `address` and `pid` are its process's,
    `title` is what `Constructed` said.
    """

    actor: bytes
    incarnation: int
    status: str
    address: int = 0
    reason: str = ""
    error: bytes = b""
    pid: int = 0
    title: str = ""


class ActorEnded(Message):
    """Raylet to head: its process is gone; `intended`: it exited by itself or as told."""

    actor: bytes
    incarnation: int
    reason: str
    intended: bool = False
    memory: bool = False


class StopActor(Message):
    """Head to a raylet: end it, at once or (`graceful`) after its queued calls, if those end."""

    actor: bytes
    incarnation: int
    graceful: bool
    reason: str


class Construct(Message):
    """Raylet to the actor's worker: become this actor; answered by `Constructed`.

    `devices` as in `Grant`.
    """

    spec: ActorSpec
    incarnation: int
    devices: dict[str, list[str]]
    lease: int


class Constructed(Message):
    """Worker to raylet: the constructor has returned, or raised `error`.

    `title` is the instance's `__repr__`, if its class has one of its own.
    """

    actor: bytes
    error: bytes = b""
    title: str = ""


class EndActor(Message):
    """Raylet to the actor's worker: exit after the queued calls have run."""

    reason: str


class ActorRow(Record, frozen=True):
    """An actor as `list_actors` shows it; `pid` and `title` are of its current or last process."""

    spec: ActorSpec
    state: str
    address: int
    incarnation: int
    reason: str = ""
    pid: int = 0
    node_id: str = ""
    started: float = 0.0
    ended: float = 0.0
    title: str = ""


# -- placement groups ----------------------------------------------------------------------------
class CreateGroup(Message):
    """Creator to head: reserve these bundles together."""

    group: bytes
    bundles: list[Resources]
    strategy: str
    name: str = ""
    namespace: str = ""
    detached: bool = False
    creator: int = 0
    job: int = 0
    selectors: list[list[tuple[str, str]]] = []


class RemoveGroup(Message):
    """Any process to head: release the bundles; the group's actors and tasks end."""

    group: bytes


class WatchGroup(Message):
    """Any process to head: tell me the group's state, now and at each change."""

    group: bytes


class GroupIs(Message):
    """Head to watchers: `nodes` has each bundle's node number while CREATED.

    `hopeless` says that the present nodes can never hold it, for the reason in `text`.
    """

    group: bytes
    state: str
    nodes: list[int] = []
    bundles: list[Resources] = []
    text: str = ""
    hopeless: bool = False


class PrepareBundles(Message):
    """Head to raylet: reserve these bundles (index → resources); answered by `BundlesPrepared`."""

    group: bytes
    attempt: int
    bundles: dict[int, Resources]


class BundlesPrepared(Message):
    """Raylet to head: reserved, or no room."""

    group: bytes
    attempt: int
    ok: bool


class ReleaseBundles(Message):
    """Head to raylet: release them; `removed`: end what runs in them, refuse what waits.

    `bundles` are the indexes to release; empty: all of the group's on that node.
    """

    group: bytes
    removed: bool
    bundles: list[int] = []


class GroupRow(Record, frozen=True):
    """A placement group as tables show it.

    `text` says why it waits, `hopeless` that the present nodes can never hold it; `placings` is the
    number of attempts to place bundles, `took` the seconds until all were placed (0: not yet).
    """

    group: bytes
    name: str
    strategy: str
    state: str
    bundles: list[Resources]
    nodes: list[int]
    creator: int
    job: int
    text: str = ""
    namespace: str = ""
    hopeless: bool = False
    placings: int = 0
    took: float = 0.0
