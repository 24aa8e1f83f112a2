"""The head: membership, resource views, jobs, key-value, questions open to every process.

Sent by `head`, `raylet` and `runtime`.  Infrequent queries go as a `Request` with a typed question
and are answered by a `Reply`, so that a new question needs no new plumbing.
"""

from rayhpc.wire.messages.common import (
    JobConfig,
    NodeInfo,
    Record,
    Resources,
    Strategy,
)
from rayhpc.wire.messages.looking import ReadLog, Stacks
from rayhpc.wire.messages.registry import Message
from rayhpc.wire.messages.task_runs import TaskRuns

PROTOCOL = 1
# A node that the head has not heard from for this many seconds is dead.
NODE_SILENT_S = 5.0
# A raylet that has not heard of the head for this long ends: the head may have declared it dead and
# given its work to others.  Longer than the head's own limit, and than a suspended head is
# tolerated.
HEAD_PATIENCE_S = NODE_SILENT_S + 2.0


class Usage(Record, frozen=True):
    """One node's state in the cluster's resource view; `pending` counts waiting leases.

    `taken` is how many `StartActor`, `PrepareBundles` and `ReleaseBundles` the raylet has received
    from the head so far: it tells the head which of its placements are already missing from
    `available`, and which of its releases are back in it.  `leased` is what leases hold and the
    node can recall for actors and bundles.
    """

    node: int
    available: Resources
    pending: int = 0
    version: int = 0
    draining: bool = False
    taken: int = 0
    leased: Resources = {}


class RegisterNode(Message):
    """Raylet to head, its first message (it has no address yet: the source is 0).

    `info.number` is 0: the head assigns it.  `python` is major.minor, `version` rayhpc's, `clock`
    this node's, in seconds since the epoch (0: unknown).
    """

    cluster_id: str
    protocol: int
    python: str
    version: str
    info: NodeInfo
    clock: float = 0.0


class Registered(Message):
    """Head to the new raylet: your number, and all nodes (including you).

    `life` counts the head's lives, from 1.
    """

    number: int
    nodes: list[NodeInfo]
    head_started: float
    life: int = 1


class RejoinNode(Message):
    """Raylet to the head, over a connection after the first: I am still here.

    `number` and `node_id` are those it registered with; `cluster_id`, `protocol`, `python` and
    `version` as in `RegisterNode`.  `received` is how many counted messages of the head it has
    (`wire.numbered`), `usage` what is free on it, `sent` when this is sent, by its own clock: of
    two requests the one that was sent later counts.
    """

    cluster_id: str
    protocol: int
    python: str
    version: str
    number: int
    node_id: str
    received: int
    usage: Usage
    sent: float = 0.0


class Rejoined(Message):
    """Head to that raylet: I have `received` of your messages on disk; send what follows them.

    `life` counts the head's lives, from 1; `nodes` are all living nodes; `heard` is the request's
    `sent`.
    """

    received: int
    life: int
    nodes: list[NodeInfo]
    heard: float = 0.0


class RegistrationRefused(Message):
    """Head to a raylet it does not admit: the text says why and what to do."""

    reason: str


class NodeUp(Message):
    """Head to raylets: a node has joined, and `more` (many at once while a cluster starts)."""

    info: NodeInfo
    more: list[NodeInfo] = []


class Moved(Record, frozen=True):
    """What a node's store has moved since it started: objects and bytes.

    `pulled` came from other nodes, `spilled` went to disk.
    """

    pulled: int = 0
    pulled_bytes: int = 0
    spilled: int = 0
    spilled_bytes: int = 0


class NodeUse(Record, frozen=True):
    """What a node is in use for, by its raylet's own account.

    `busy` says it in words (empty: it is idle, for `idle_s` seconds), `keeps` what it has, while it
    drains, that would be lost with it (empty: nothing).
    """

    busy: str = ""
    idle_s: float = 0.0
    keeps: str = ""


class Heartbeat(Message):
    """Raylet to head: I am alive; `usage` only if it has changed; `demand`: what waits here.

    `demand` lists (resources, number waiting, reason in words).  `errors` counts the errors inside
    the raylet, `last_error` is the last one.  `moved` is what the store has moved so far.
    `strategies` says of each entry of `demand` where it may run.
    `received` is how many counted messages of the head it has (`wire.numbered`), `sent` when this
    is sent, by the raylet's own clock.
    `memory` is how many bytes count against the node's own memory limit, `memory_limit` that limit
    (both 0: not read yet).
    """

    usage: Usage | None = None
    store_used: int = 0
    store_spilled: int = 0
    workers: int = 0
    demand: list[tuple[Resources, int, str]] = []
    errors: int = 0
    last_error: str = ""
    moved: Moved = Moved()
    strategies: list[Strategy] = []
    use: NodeUse = NodeUse()
    received: int = 0
    memory: int = 0
    memory_limit: int = 0
    sent: float = 0.0


class HeadAlive(Message):
    """Head to raylet, about once a second in answer to its heartbeats: I hear you.

    `received` is how many counted messages of the raylet it has on disk (`wire.numbered`), `heard`
    is the heartbeat's `sent`: that long ago, and no longer, the raylet surely was a member.
    """

    received: int = 0
    heard: float = 0.0


class View(Message):
    """Head to raylets: the nodes whose usage has changed since the last one."""

    changed: list[Usage]


class Leave(Message):
    """Raylet to head: this node leaves gracefully, after its tasks have ended."""

    reason: str


class LinkBroken(Message):
    """Raylet to head: my link to that node broke, and you have not said why: one of us must go."""

    node: int


class Drain(Message):
    """Head to raylet: take no new work; end within `deadline` seconds from now.

    With `stays` the node does not end: it waits for `Undrain`, or for its machine to be taken away.
    """

    reason: str
    deadline: float
    stays: bool = False


class Undrain(Message):
    """To a raylet that drains and stays: take work again."""


class JobStarted(Message):
    """Raylet to head: a driver has attached."""

    job: JobConfig


class ProcessDied(Message):
    """Raylet to head: a driver or worker of this node has ended."""

    address: int
    reason: str
    is_driver: bool
    code: int = 0


class GetJob(Message):
    """Raylet to head: what is job `number`? Answered by `JobIs`, once it is known."""

    number: int


class JobIs(Message):
    """Head to raylet: the job."""

    job: JobConfig


class EndCluster(Message):
    """Any process of the cluster to head: end the cluster, with this exit code."""

    reason: str
    code: int = 0


# -- questions ----------------------------------------------------------------------------------
class Nodes(Message):
    """All nodes, dead ones included → list[NodeState]."""


class ClusterUsage(Message):
    """Everything `status` shows → ClusterState."""


class ListActors(Message):
    """→ list[ActorRow] (`actors.py`)."""


class ListGroups(Message):
    """→ list[GroupRow] (`actors.py`)."""


class ListJobs(Message):
    """→ list[JobRow]."""


class KvPut(Message):
    """→ bool: whether the key was new."""

    space: str
    key: bytes
    value: bytes
    overwrite: bool = True


class KvGet(Message):
    """→ bytes or None; with `wait` answered once the key appears."""

    space: str
    key: bytes
    wait: bool = False


class KvDelete(Message):
    """→ int: how many keys were removed; with `prefix` all that start with it."""

    space: str
    key: bytes
    prefix: bool = False


class KvKeys(Message):
    """→ list[bytes]."""

    space: str
    prefix: bytes


class FindActor(Message):
    """→ ActorRow or None: the living actor with that name."""

    name: str
    namespace: str


class NamedActors(Message):
    """→ list of (namespace, name); an empty namespace means all."""

    namespace: str


class StoreObjects(Message):
    """To a raylet: the objects in its store → list[ObjectRow]."""

    limit: int = 10_000


class Workers(Message):
    """To a raylet: its processes → list[WorkerRow]; with `ended` also dead ones."""

    ended: bool = False


class Load(Message):
    """To the head: what waits and what each node is in use for, at one instant → ClusterLoad."""


class NodesOverTime(Message):
    """To the head: what each node had free, and in its store, over time → list[NodeHistory]."""


class JobRaylets(Message):
    """To the head: the raylets that asked about a job, to work for it → list[int], addresses."""

    job: int


class PassOnOutput(Message):
    """To a raylet: send a job's driver what its workers have printed so far → list, empty.

    A result takes a shorter path than the lines printed before it.
    """

    job: int


class OwnedObjects(Message):
    """To a process: the references it owns or borrows → list[ObjectRow]."""

    limit: int = 10_000


class OwnedTasks(Message):
    """To a process: the unfinished tasks it has submitted → list[TaskEvent]."""

    limit: int = 10_000


Question = (
    Nodes
    | ClusterUsage
    | ListActors
    | ListGroups
    | ListJobs
    | KvPut
    | KvGet
    | KvDelete
    | KvKeys
    | FindActor
    | NamedActors
    | StoreObjects
    | TaskRuns
    | Workers
    | NodesOverTime
    | Load
    | JobRaylets
    | PassOnOutput
    | OwnedObjects
    | OwnedTasks
    | ReadLog
    | Stacks
)


class Request(Message):
    """A question to the head, a raylet or a process; `token` is the requester's."""

    token: int
    question: Question


class Reply(Message):
    """The answer: msgpack of the type the question names; none if `error` is not empty."""

    token: int
    data: bytes = b""
    error: str = ""
