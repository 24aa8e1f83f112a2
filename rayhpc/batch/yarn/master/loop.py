"""The ApplicationMaster's only loop: events from YARN and rank 0 to `Gang`, its orders back.

Used by `__main__` in the application's first container, and by `unmanaged` in the user's own
process.  Everything here waits or talks; `gang` decides what to do.

One thread does everything, except for the calls that start containers: a NodeManager that does not
answer must not hold up anyone else.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rayhpc.batch.yarn import talk
from rayhpc.batch.yarn.application import Application, Resource
from rayhpc.batch.yarn.master import actions, events
from rayhpc.batch.yarn.master.gang import Gang
from rayhpc.batch.yarn.master.limits import why_pending
from rayhpc.batch.yarn.master.rank_zero import RankZero
from rayhpc.batch.yarn.master.starter import Starter
from rayhpc.batch.yarn.master.wakeup import Wakeup
from rayhpc.exit_codes import ExitCode, in_words
from rayhpc.hadoop.errors import RemoteError
from rayhpc.hadoop.failover import INVALID_TOKEN
from rayhpc.hadoop.ids import container_name
from rayhpc.hadoop.master import ANY_HOST, Master
from rayhpc.hadoop.messages.records import (
    ContainerProto,
    FinalApplicationStatusProto,
    NodeReportProto,
    NodeStateProto,
    PriorityProto,
    ResourceRequestProto,
)
from rayhpc.hadoop.messages.scheduling import AllocateResponseProto, AMCommandProto
from rayhpc.hadoop.resources import Size
from rayhpc.hadoop.tokens import Credentials

# Heartbeats: while containers are being obtained or started, and otherwise.
_BUSY_S, _QUIET_S = 0.2, 1.0
# How long an ask is open before heartbeats become as rare as otherwise.
_BUSY_FOR_S = 30.0
# How long the ranks may take to leave after the program has ended, before YARN kills them.
_LEAVE_S = 3.0
_LEAVE_BEAT_S = 0.1
_KILL_S = 5.0
_WELL = (NodeStateProto.NS_RUNNING, NodeStateProto.NS_NEW)
# The ResourceManager has given us up: another attempt may already be running.
_GIVEN_UP = ("ApplicationAttemptNotFoundException", INVALID_TOKEN)


class GivenUpError(Exception):
    """YARN no longer wants this attempt; there is nobody to unregister from."""


@dataclass(frozen=True)
class Outcome:
    """How the application has ended."""

    code: int
    text: str


class Loop:
    """One attempt of one application, after it has registered.

    Args:
        application: what it runs.
        resources: the files of every container.
        master: talks to the ResourceManager.
        gang: makes the decisions.
        credentials: for every container, without the ApplicationMaster's own token.
        rank_zero: the process of rank 0, started.
        wakeup: says when this process is told to end.
        say: shows a message to the user.

    Attributes:
        queue: the queue that the application is in.
    """

    def __init__(
        self,
        application: Application,
        resources: Sequence[Resource],
        master: Master,
        gang: Gang,
        credentials: Credentials,
        rank_zero: RankZero,
        wakeup: Wakeup,
        say: Callable[[str], None],
    ) -> None:
        self._application, self._master, self._gang = application, master, gang
        self._rank_zero, self._say = rank_zero, say
        self._given: dict[str, ContainerProto] = {}
        self._inbox: deque[events.Event] = deque()
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._starter = Starter(application, resources, master, credentials, self._from_thread)
        self._asked_at = time.monotonic()
        self._question: talk.LookAtRanks | None = None
        self._left: Size | None = None
        self._hosts = 0
        self.queue = ""
        self._outcome: Outcome | None = None
        self._leave_until = 0.0
        self._poll = select.poll()
        self._wakeup = wakeup
        for descriptor in (self._wake, wakeup.fd, rank_zero.socket.fileno()):
            self._poll.register(descriptor, select.POLLIN)

    def run(self, inherited: Sequence[ContainerProto] = ()) -> Outcome:
        """Run until the program has ended and the ranks have left.

        Args:
            inherited: what earlier attempts have left running.

        Raises:
            GivenUpError: YARN has given this attempt up; rank 0 has been ended.
        """
        try:
            found = [self._inherit(each) for each in inherited]
            self._do(self._gang.start(time.monotonic(), found))
            last_beat = float("-inf")
            while not self._is_over():
                if time.monotonic() >= last_beat + self._pause_s():
                    self._beat()
                    last_beat = time.monotonic()
                self._handle_inbox()
                self._wait(self._until(last_beat + self._pause_s()))
        finally:
            self._starter.close()
            self._rank_zero.end(_KILL_S)
        assert self._outcome is not None
        return self._outcome

    def pause(self, seconds: float) -> None:
        """Wait between two attempts to reach the ResourceManager, still listening to rank 0."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._wait(left)
            if self._outcome is not None and self._outcome.code == ExitCode.CANCELLED:
                raise GivenUpError("told to end while no ResourceManager answered")

    # -- time
    def _until(self, next_beat: float) -> float:
        due = self._gang.wake_at()
        now = time.monotonic()
        return max(0.0, min(next_beat, now + _QUIET_S if due is None else due) - now)

    def _pause_s(self) -> float:
        if self._outcome is not None:
            return _LEAVE_BEAT_S
        is_new = time.monotonic() - self._asked_at < _BUSY_FOR_S
        return _BUSY_S if is_new and self._gang.missing > 0 else _QUIET_S

    def _is_over(self) -> bool:
        if self._outcome is None:
            return False
        return not self._gang.ranks or time.monotonic() >= self._leave_until

    # -- input
    def _wait(self, seconds: float) -> None:
        """Listen for this long; messages are then in the inbox."""
        for descriptor, _ in self._poll.poll(max(1, int(seconds * 1000))):
            if descriptor == self._wake:
                os.read(self._wake, 4096)
            elif descriptor == self._wakeup.fd:
                if self._wakeup.told_to_end():
                    self._end(Outcome(ExitCode.CANCELLED, "the ApplicationMaster was told to end"))
            else:
                self._hear_rank_zero()
        code = self._rank_zero.poll()
        if code is not None and self._outcome is None:
            self._end(Outcome(code, f"the program ended: {in_words(code)}"))

    def _hear_rank_zero(self) -> None:
        match message := self._rank_zero.receive():
            case None:
                # Closed, by its end or by a program that does not know about it.
                self._poll.unregister(self._rank_zero.socket.fileno())
            case talk.Ready(record, failed):
                if not failed:  # otherwise it is about to end
                    self._starter.set_record(record)
                    self._inbox.append(events.HeadReady())
            case talk.Want(nodes):
                self._inbox.append(events.Resized(nodes))
            case talk.AddRank(rank):
                self._starter.set_node(message)
                self._inbox.append(events.RankAdded(rank))
            case talk.RemoveRank(rank, if_pending):
                cancelled, removed = events.RankCancelled(rank), events.RankRemoved(rank)
                self._inbox.append(cancelled if if_pending else removed)
            case talk.LookAtRanks() as question:
                self._question = question
            case talk.Drained(rank):
                self._inbox.append(events.Drained(rank))

    def _end(self, outcome: Outcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
            still_runs = self._rank_zero.poll() is None
            self._leave_until = time.monotonic() + (_KILL_S if still_runs else _LEAVE_S)
            if still_runs:
                self._rank_zero.terminate()
            self._inbox.append(events.ProgramEnded(outcome.code))

    def _from_thread(self, event: events.Event) -> None:
        self._inbox.append(event)
        os.write(self._woken, b"!")

    def _handle_inbox(self) -> None:
        while self._inbox:
            self._do(self._gang.handle(self._inbox.popleft(), time.monotonic()))
        due = self._gang.wake_at()
        if due is not None and time.monotonic() >= due:
            self._do(self._gang.tick(time.monotonic()))
        if self._question is not None:
            self._answer(self._question)
            self._question = None

    def _answer(self, question: talk.LookAtRanks) -> None:
        """Once everything before the question has been taken into account."""
        rows = [each for each in self._gang.added if each.rank > question.after]
        rows = [self._explained(each) for each in rows[: talk.MOST_ROWS]]
        self._rank_zero.describe(talk.Ranks(question.number, rows))

    def _explained(self, row: talk.AddedRank) -> talk.AddedRank:
        """Why it is pending, if it is."""
        if row.state is not talk.RankState.PENDING:
            return row
        used = len(set(self._gang.ranks.values())) + 1
        reason = why_pending(self._size(), self.queue, self._left, self._hosts, used)
        return talk.AddedRank(row.rank, row.state, row.host, reason)

    def _beat(self) -> None:
        try:
            answer = self._master.allocate(1.0 if self._outcome else 0.5)
        except RemoteError as error:
            if error.name in _GIVEN_UP:
                raise GivenUpError(str(error)) from None
            raise
        if answer.has("a_m_command") and answer.a_m_command == AMCommandProto.AM_SHUTDOWN:
            raise GivenUpError("the ResourceManager told this attempt to end")
        self._take(answer)

    def _inherit(self, container: ContainerProto) -> events.Inherited:
        name = self._note(container)
        assert container.nodeId is not None
        return events.Inherited(name, container.nodeId.host)

    def _note(self, container: ContainerProto) -> str:
        assert container.id is not None
        name = container_name(container.id)
        self._given[name] = container
        return name

    def _take(self, answer: AllocateResponseProto) -> None:
        self._left = None if answer.limit is None else Size.of(answer.limit)
        self._hosts = answer.num_cluster_nodes
        # A restarted ResourceManager hears about them only when their nodes report.
        for container in answer.containers_from_previous_attempts:
            self._inbox.append(self._inherit(container))
        for node in answer.updated_nodes:
            self._inbox.append(_news_of(node))
        for status in answer.completed_container_statuses:
            assert status.container_id is not None
            name = container_name(status.container_id)
            self._given.pop(name, None)
            self._inbox.append(events.Completed(name, status.exit_status, status.diagnostics))
        for container in answer.allocated_containers:
            name = self._note(container)
            assert container.nodeId is not None
            ask = container.allocation_request_id
            self._inbox.append(events.Allocated(name, container.nodeId.host, ask))

    # -- output
    def _do(self, orders: list[actions.Action]) -> None:
        for action in orders:
            self._do_one(action)

    def _do_one(self, action: actions.Action) -> None:
        match action:
            case actions.Ask():
                self._asked_at = time.monotonic()
                self._master.ask(self._request(action))
            case actions.Cancel():
                self._master.cancel(action.number)
            case actions.Release():
                self._release(action.container)
            case actions.Avoid():
                self._master.avoid(action.host)
            case actions.Readmit():
                self._master.readmit(action.host)
            case actions.Launch():
                self._starter.start(action, self._given[action.container])
            case actions.Drain():
                self._rank_zero.drain(action.rank)
            case actions.Say():
                self._say(action.text)
            case actions.Fail():
                self._end(Outcome(ExitCode.TOO_FEW_NODES, action.reason))

    def _request(self, ask: actions.Ask) -> ResourceRequestProto:
        return ResourceRequestProto(
            priority=PriorityProto(priority=1),
            resource_name=ANY_HOST,
            capability=self._size().to_message(),
            num_containers=ask.count,
            relax_locality=True,
            node_label_expression=self._application.node_label or None,
            allocation_request_id=ask.number,
        )

    def _size(self) -> Size:
        wanted = self._application
        return Size(wanted.memory_mib, wanted.vcores, wanted.gpus)

    def _release(self, name: str) -> None:
        container = self._given.pop(name, None)
        if container is not None and container.id is not None:
            self._master.release(container.id)


def final_status(code: int) -> FinalApplicationStatusProto:
    """What YARN is told for an exit code."""
    if code == 0:
        return FinalApplicationStatusProto.APP_SUCCEEDED
    return FinalApplicationStatusProto.APP_FAILED


def _news_of(node: NodeReportProto) -> events.Event:
    assert node.nodeId is not None
    host = node.nodeId.host
    return events.HostUsable(host) if node.node_state in _WELL else events.HostUnusable(host)
