"""Leases: messages between submitters, raylets and workers.

Sent by `runtime` and `raylet`.  A lease number is unique on its raylet and never reused.
"""

from rayhpc.wire.messages.common import Grant, JobConfig, Record, SchedulingClass
from rayhpc.wire.messages.registry import Message

# LeaseRefused.kind
UNSCHEDULABLE = 1  # no node can ever run it, and the strategy does not allow waiting
ENVIRONMENT = 2  # the runtime environment could not be set up
GROUP_REMOVED = 3
OUT_OF_SERVICE = 4  # the node is leaving: ask again elsewhere


# A line on a worker's stdout or stderr that starts with this names what it runs from there on.
NAME_MARK = "\x1e:rayhpc:"


class LeaseRequest(Message):
    """Submitter to a raylet: one worker for this class, please.

    `request` is the submitter's number for it, `backlog` how many of its tasks wait now: workers
    are started ahead for them.  `hops` is how many raylets have redirected it.
    """

    request: int
    client: int
    wanted: SchedulingClass
    backlog: int = 1
    hops: int = 0


class LeaseGranted(Message):
    """Raylet to submitter: `worker` is yours until you return it or it is revoked."""

    request: int
    worker: int
    grant: Grant


class LeaseRedirect(Message):
    """Raylet to submitter: ask node `node` instead."""

    request: int
    node: int


class LeaseQueued(Message):
    """Raylet to submitter: nothing is free anywhere; queued here. `text`: why it may take long."""

    request: int
    text: str = ""


class LeaseRefused(Message):
    """Raylet to submitter: never; `kind` and `text` say why."""

    request: int
    kind: int
    text: str


class LeaseCancel(Message):
    """Submitter to raylet: the request is no longer needed."""

    request: int
    client: int


class ClassBacklog(Record, frozen=True):
    """How many tasks of one class wait for a worker at their owner; a text says why for long."""

    wanted: SchedulingClass
    count: int
    reason: str = ""


class Backlog(Message):
    """Owner to its raylet, at most a few times a second: the classes whose backlog has changed."""

    changed: list[ClassBacklog]


class LeaseReturn(Message):
    """Submitter to raylet: I no longer need this worker.

    `kill`: end the process as well, if `task` (if given) is what it runs.
    """

    lease: int
    kill: bool = False
    task: bytes = b""


class LeaseBroken(Message):
    """Raylet to submitter: the leased worker is dead.

    `started` is the task it had started last (from its slot; empty: none), so that only this one
    counts as failed; `reason` says how it died; `memory` that it was killed for using too much.
    """

    lease: int
    worker: int
    started: bytes
    reason: str
    memory: bool = False
    unsent: list[bytes] = []


class Revoke(Message):
    """Raylet to worker: others wait; finish what runs, refuse the rest, answer `Revoked`."""

    lease: int


class Revoked(Message):
    """Worker to raylet: the lease is over and I am free."""

    lease: int


class WorkerReady(Message):
    """A new worker to its raylet: I am listening."""

    pid: int


class AssignJob(Message):
    """Raylet to worker, before its first lease for that job: what the job needs."""

    job: JobConfig


class Blocked(Message):
    """Worker to raylet: my task waits for others; its CPUs are free until `Unblocked`."""

    lease: int


class Unblocked(Message):
    """Worker to raylet: my task continues."""

    lease: int


class SubmitterGone(Message):
    """Raylet to worker: the submitter of this lease has ended; report what runs, and end."""

    lease: int


class ArgumentsMissing(Message):
    """Worker to raylet: what I am to run has not started, since it waits for these arguments.

    If one of them is still to be made, everything held by the lease is lent until `MayStart`.
    """

    lease: int
    oids: list[bytes]


class ArgumentsHere(Message):
    """Worker to raylet, after `ArgumentsMissing`: my task or constructor could start now."""

    lease: int


class MayStart(Message):
    """Raylet to worker, after `ArgumentsHere`: the lease has again what it was granted.

    `devices` may have changed.  `granted` is False if there was no room: hand the task back.
    """

    lease: int
    devices: dict[str, list[str]]
    granted: bool = True


class Leaving(Message):
    """Worker to raylet: I exit after this (max_calls, exit); do not lease me again."""

    reason: str


class ExitIfIdle(Message):
    """Raylet to an idle worker: exit, unless someone still needs objects that you own.

    `job_over`: its job's program has ended, and waits for nothing that it has submitted.
    """

    job_over: bool = False


class StillNeeded(Message):
    """Worker to raylet: I own objects that others hold, or tasks that have not ended."""


class SentSigterm(Message):
    """Worker to raylet: somebody has sent me SIGTERM; end me, unless the whole node is to end."""


class Watch(Message):
    """Process to the raylet of `target`'s node: tell me when that process ends."""

    target: int
    watcher: int


class Died(Message):
    """Raylet to a watcher: that process has ended."""

    target: int
    reason: str


class NodeGone(Message):
    """Head to raylets, raylet to its processes: everything on that node is dead.

    The head names all nodes that died at the same time for the same reason in one message (`more`).
    """

    node: int
    reason: str
    more: list[int] = []


class LogLines(Message):
    """Raylet to a job's driver: lines that a worker printed."""

    pid: int
    ip: str
    name: str
    error: bool
    lines: list[str]

    @property
    def size(self) -> int:
        """Characters, line ends included."""
        return sum(map(len, self.lines)) + len(self.lines)


class LinesTaken(Message):
    """A driver to a raylet: this many more characters of its `LogLines` have been printed."""

    size: int


class Shutdown(Message):
    """Head to raylets, raylet to its processes: the cluster ends, for this reason."""

    reason: str
    code: int = 0
