"""What tasks and calls have run: how workers report it, and how raylets tell it.

Sent by workers to their raylet, and by both to whoever asks (`timeline`, `list_tasks`, `report`).
`wire.runs` packs the batches.
"""

from rayhpc.wire.messages.common import Record, Resources
from rayhpc.wire.messages.registry import Message


class TaskRuns(Message):
    """To a raylet or a worker: what has run there, at least the last `limit` → list[RunPage].

    A `limit` of 0 means everything known.  The answer has one page; unless it is the last, the next
    one is requested with its `following` as `after`.

    With `since` at 0 or more, to a raylet alone: only what was reported after that `position` of an
    earlier page, in a page of about `most` bytes at the most.
    """

    limit: int = 0
    after: int = -1
    since: int = -1
    most: int = 0


class ReportRuns(Message):
    """Worker to its raylet, four times a second or every 4,000 runs: `count` tasks it has run.

    `data` is a packed `RunBatch`; `dropped` more did not fit.
    """

    count: int
    dropped: int
    data: bytes


# Untracked by the garbage collector (`gc=False`): a report reads half a million of them.
class RunGroup(Record, frozen=True, gc=False):
    """Runs of one function or method: ids and parents concatenated, times as doubles.

    `actor` is empty for tasks, `parents` if no run has one.  `tids` are without the nonce.
    `error` names the kind of failure (empty: they succeeded), `cpus` and `gpus` what a run had
    (units of 1/10000).  `waited` are the seconds for which a run waited for others (empty: none
    did), `sources` the first `runs.SOURCES_MOST` references that each took, without the nonce, and
    `source_counts` how many these are, as 16-bit numbers (both empty: none).  `sent` counts the
    runs whose arguments were too large for a message, `sent_bytes` their bytes.  `submitted` is
    when their submitters made them, in seconds since the epoch (empty: unknown).  `function` is
    what ran, if `name` is another (empty: it is the same).
    """

    name: str
    job: int
    actor: bytes
    attempt: int
    error: str
    cpus: int
    gpus: int
    tids: bytes
    starts: bytes
    seconds: bytes
    parents: bytes = b""
    waited: bytes = b""
    sources: bytes = b""
    source_counts: bytes = b""
    sent: int = 0
    sent_bytes: int = 0
    submitted: bytes = b""
    function: str = ""


class RunBatch(Record, frozen=True, gc=False):
    """What one worker reports; add `offset` to its `starts` for seconds since the epoch.

    `nonce` is the end of every task's id.  `tracebacks` has the text of each kind of failure that
    this worker reports for the first time.
    """

    worker: int
    pid: int
    offset: float
    groups: list[RunGroup]
    nonce: bytes
    tracebacks: dict[str, str] = {}


class RunPage(Record, frozen=True, gc=False):
    """Packed `RunBatch`es (`wire.runs`), oldest first.

    `dropped` is how many older runs have been forgotten, `following` where the next page begins
    (-1: this is the last).  `position` is where it ends in all that was ever reported, in bytes: in
    answer to `since` the place to go on from, where `following` says only whether there is more.
    """

    chunks: list[bytes]
    dropped: int = 0
    following: int = -1
    position: int = 0


# The state of a call that its actor has, and has not started.
QUEUED = "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"


class TaskEvent(Record, frozen=True):
    """A task's run; times in seconds since the epoch, `ended` 0 while running.  `function` is what
    runs, if `name` is another.
    """

    tid: bytes
    name: str
    kind: str
    state: str
    job: int
    worker: int
    pid: int
    submitted: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    actor: bytes = b""
    parent: bytes = b""
    attempt: int = 0
    error: str = ""
    resources: Resources = {}
    error_type: str = ""
    function: str = ""
