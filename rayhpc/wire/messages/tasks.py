"""Messages between a submitter and the worker that runs its tasks: the fast path.

Sent only by `runtime`, process to process; raylets forward them between nodes unread.
"""

from rayhpc.wire.messages.common import Grant, Record, Stored
from rayhpc.wire.messages.registry import Message

# returns: a count, or one of these
DYNAMIC = -1
STREAMING = -2
# Their items go to the owner one by one, as they are yielded.
GENERATORS = (DYNAMIC, STREAMING)

# Result.status
OK = 0
FAILED = 1  # the user's code raised; `outs` holds one error
CANCELLED = 2


class Dependency(Record, frozen=True):
    """A top-level reference among a task's arguments, already resolved by the submitter.

    `value` is the small value itself; None means: fetch `oid` from the store (`node` is a hint).
    `error` says that `value` is an error, with which the task then fails.  `attempt` is the one of
    its task that the stored object must be of, or a later one.
    """

    oid: bytes
    value: bytes | None = None
    node: int = 0
    error: bool = False
    attempt: int = 0


class TaskMore(Record, frozen=True):
    """Fields that few tasks need, kept apart so that the common task stays small.

    `retry_on` is empty (never), b"*" (any application error) or a pickled list of types.
    If `packed` is not 0, `args` is empty and the first dependency is the packed arguments, of that
    many bytes.
    `window` is the number of streamed items that may be outstanding (0: no bound).
    `again` says that a call is repeated because results of it were lost.
    `unlisted`: neither listings nor timelines show it.  `function` is the function or method of one
    that has a name of its own.
    """

    name: str = ""
    parent: bytes = b""
    retry_on: bytes = b""
    packed: int = 0
    window: int = 0
    max_calls: int = 0
    capture_group: bool = False
    max_retries: int = 0
    again: bool = False
    unlisted: bool = False
    function: str = ""


class Task(Record, frozen=True):
    """One task: `tid` is the id of its first result, `definition` its function's id.

    `submitted` is when, in seconds since the epoch (0: unknown).
    """

    tid: bytes
    definition: bytes
    args: bytes
    deps: tuple[Dependency, ...] = ()
    returns: int = 1
    attempt: int = 0
    more: TaskMore | None = None
    submitted: float = 0.0


class Call(Record, frozen=True):
    """One call of an actor's method; fields as in `Task`."""

    tid: bytes
    method: str
    args: bytes
    deps: tuple[Dependency, ...] = ()
    returns: int = 1
    attempt: int = 0
    group: str = ""
    more: TaskMore | None = None
    submitted: float = 0.0


class Result(Record, frozen=True):
    """The outcome of one task.

    `outs` has one element per result: the pickled value, or where it is stored; after a failure the
    error is the last.  Of a generator it has the number of its items instead.  `micros` is how
    long the user's code ran.  `borrowing` says that references among the arguments are still being
    taken over: the submitter keeps them alive until `Release`.  `inner` lists, per result, the
    references inside it, which the worker keeps alive until the owner's `Adopted`.
    """

    tid: bytes
    status: int
    outs: list[bytes | Stored]
    micros: int = 0
    borrowing: bool = False
    inner: list[list[bytes]] = []
    retry: bool = False


class Push(Message):
    """Submitter to leased worker: run these, in this order.

    `grant` comes with the first push of a lease, `definitions` (id → pickled function) with the
    first task of each that this submitter sends to this worker.
    """

    lease: int
    tasks: list[Task]
    definitions: dict[bytes, bytes] = {}
    grant: Grant | None = None


class Calls(Message):
    """Caller to actor: these calls, in this order."""

    actor: bytes
    calls: list[Call]


class Forget(Message):
    """Submitter to worker: I have no task left of these definitions; a later push resends them.

    `with_refs`: some have captured references.
    """

    definitions: list[bytes]
    with_refs: bool = False


class Done(Message):
    """Worker to submitter: results, each within a millisecond of completion."""

    results: list[Result]


class Recall(Message):
    """Submitter to worker: give back up to `count` tasks that have not started, newest first."""

    lease: int
    count: int


class Refused(Message):
    """Worker to submitter: these tasks did not start here and will not.

    `blocked` says that the worker's running task waits for others: push nothing more until that
    task's result.  `ended` says that the lease is over.
    """

    lease: int
    tids: list[bytes]
    blocked: bool = False
    ended: bool = False


class Cancel(Message):
    """Owner to the process that runs or will run a task: cancel it, and its children if asked."""

    tid: bytes
    recursive: bool = True


class StreamItem(Message):
    """Worker to owner: item number `index` (from 0) of a generator task."""

    tid: bytes
    index: int
    out: bytes | Stored
    inner: list[bytes] = []
    attempt: int = 0


class StreamTaken(Message):
    """Owner to worker: `count` items have been taken so far; -1: no more are wanted."""

    tid: bytes
    count: int


class Release(Message):
    """Worker to submitter: the arguments of these tasks need not be kept alive for us."""

    tids: list[bytes]


class Adopted(Message):
    """Owner of results to worker: I now hold the references inside these results myself."""

    tids: list[bytes]


class CancelOwned(Message):
    """A borrower to an owner: cancel the task that creates this object."""

    oid: bytes
    force: bool
    recursive: bool
