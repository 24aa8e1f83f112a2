"""The decisions of one process that takes part in a cluster, apart from its sockets and threads.

Driven by `loop.py` (threads, waiting) and, with the same code, by `tests/sim`; what only a driver
or only a worker does is left to its `role`.  Messages in, messages out through `send`, time
through `now`.  Everything here runs in the leading thread, unless stated otherwise.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from rayhpc.exceptions import RayError, RaySystemError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.calls import Callers
from rayhpc.runtime.owner.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.owner.inline_values import InlineValues
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.recent_views import RecentViews
from rayhpc.runtime.owner.results import Results
from rayhpc.runtime.owner.streams import Streams
from rayhpc.runtime.owner.submission import Submitter
from rayhpc.runtime.process import inspection, stacks
from rayhpc.runtime.process.answers import Answers
from rayhpc.runtime.process.context import running
from rayhpc.runtime.process.role import Role
from rayhpc.runtime.values.errors import dump_system_error
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.store_client import Promise, StoreClient
from rayhpc.store.mapping import Mapping
from rayhpc.wire import roles
from rayhpc.wire.address import (
    FIRST_OBSERVER,
    Address,
    NodeNumber,
    ObjectId,
    cluster_nonce,
    id_prefix,
    make_actor_id,
    make_group_id,
    node_of,
    owner_node_of,
    raylet_of,
)
from rayhpc.wire.direct_links import DirectLinks
from rayhpc.wire.messages import (
    actors,
    cluster,
    leases,
    looking,
    objects,
    task_runs,
    tasks,
)
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.messages.windows import Credit, Flush, Flushed
from rayhpc.wire.windows import UNCOUNTED, Windows

logger = logging.getLogger("rayhpc")


class Endable(Protocol):
    """Something that waits for an object to be brought here."""

    def end(self) -> None:
        """The cluster has ended before the object came."""


class Transport(Protocol):
    """How other processes are reached (`wire.transport.Transport`).

    Attributes:
        windows: sends messages, as far as there is room.
        links: decides which route they take to other nodes.
    """

    windows: Windows
    links: DirectLinks

    def forget(self, address: Address) -> None:
        """A process has ended: nothing more is sent to it."""

    def forget_node(self, node: NodeNumber) -> None:
        """A node is gone: nothing more is sent to its processes, or read from them."""


class Core:
    """The tables of one driver or worker, and how it handles each message.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
        transport: how other processes are reached.
        now: the time in seconds, monotonic.

    Attributes:
        handlers: the handler of each message.
        role: what only a driver or only a worker does.
        wake_leader: has the polling thread do its round; the loop sets it.
        unfinished: waiters for a store's objects, which are told if the cluster ends before.
    """

    # What only a worker or only a driver does: set by `Process`.
    role: Role

    def __init__(
        self,
        facts: Facts,
        mapping: Mapping,
        transport: Transport,
        now: Callable[[], float],
    ) -> None:
        self.facts = facts
        self.me = facts.address
        self.raylet = raylet_of(node_of(self.me))
        self._nonce = cluster_nonce(facts.cluster_id)
        self.ended: str | None = None
        self._ended_as: type[RayError] = RaySystemError
        self._transport = transport
        self.windows = windows = transport.windows
        self.send_now: Callable[[Address, msgspec.Struct], None] = windows.send
        send = windows.send
        self.now = now
        self.store = StoreClient(mapping, self.raylet, send)
        self.inline = InlineValues(self.store, node_of(self.me), send)
        self.ownership = Ownership(
            self.me, self._nonce, send, self.inline, self._make_again, failures.lost
        )
        self.ownership.on_new_attempt = self.store.note_attempt
        self.results = Results(self.ownership, send, self.inline)
        self.submitter = Submitter(self.me, self.ownership, self.results, send, now, self.warn_once)
        self.callers = Callers(self.me, self.ownership, self.results, send, windows.has_room, now)
        # A receiver that has ended gives no credit: then what waits for it is dropped.
        windows.on_full = self.ownership.watch
        windows.on_room = self.callers.on_room
        transport.links.on_peer = self.ownership.watch
        transport.links.on_trouble = self._say_relayed
        self.streams = Streams(self.ownership, self.results, send)
        self.recent = RecentViews(self.ownership.table, now)
        self.answers = Answers()
        self.group_watchers: dict[bytes, list[Callable[[actors.GroupIs], None]]] = {}
        self._prefix = id_prefix(self.me)
        self._sequence = itertools.count(1)
        # For actors and groups, whose ids have less room for a number.
        self._short = itertools.count(1)
        self._tokens = itertools.count(1)
        self._actions: deque[Callable[[], None]] = deque()
        self._warned: set[str] = set()
        self.wake_leader: Callable[[], None] | None = None
        self.unfinished: dict[Endable, None] = {}
        self.handlers = self.make_handlers()

    def make_handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        """The handler of each message; the role adds its own."""
        own, sub, res = self.ownership, self.submitter, self.results
        return {
            Credit: self.windows.on_credit,
            Flush: lambda source, _: self.send_now(source, Flushed()),
            tasks.Done: self._on_done,
            tasks.Refused: self._on_refused,
            tasks.Release: lambda _, m: res.on_release(m),
            tasks.StreamItem: self.streams.on_item,
            tasks.CancelOwned: self._on_cancel_owned,
            leases.LeaseGranted: lambda _, m: sub.on_granted(m),
            leases.LeaseRedirect: lambda _, m: sub.on_redirect(m),
            leases.LeaseQueued: lambda _, m: sub.on_queued(m),
            leases.LeaseRefused: lambda _, m: sub.on_refused_lease(m),
            leases.LeaseBroken: lambda _, m: sub.on_broken(m),
            leases.Died: self._on_died,
            leases.NodeGone: self._on_node_gone,
            leases.Shutdown: self.on_shutdown,
            leases.LogLines: lambda *_: None,  # drivers print them
            objects.Borrow: lambda _, m: own.on_borrow(m),
            objects.Borrowed: lambda _, m: own.on_borrowed(m),
            objects.Return: lambda _, m: own.on_return(m),
            objects.Ask: lambda _, m: own.on_ask(m),
            objects.CopiesLost: lambda _, m: own.on_copies_lost(m),
            objects.StoreCreated: lambda _, m: self.store.on_created(m),
            objects.CollectGarbage: lambda *_: self.role.collect_garbage(),
            objects.Fetched: self._on_fetched,
            objects.FetchFailed: self._on_fetch_failed,
            actors.ActorCreated: lambda _, m: self.answers.add(m),
            actors.ActorIs: self._on_actor_is,
            actors.GroupIs: self._on_group_is,
            cluster.Reply: lambda _, m: self.answers.add(m),
            cluster.Request: self.on_request,
            **self._transport.links.handlers(),
        }

    def take_role(self, role: Role) -> None:
        """Be a driver or a worker."""
        self.role = role
        self.handlers.update(role.handlers())

    @property
    def is_worker(self) -> bool:
        """Whether this process runs tasks for others."""
        return self.role.is_worker

    # -- the turn ---------------------------------------------------------------------------------
    def later(self, action: Callable[[], None]) -> None:
        """Run `action` in the leading thread soon; for finalizers and foreign threads."""
        self._actions.append(action)
        if self.wake_leader is not None:
            self.wake_leader()

    def advance(self) -> None:
        while self._actions:
            self._actions.popleft()()
        if self.ownership.has_news():
            self.ownership.settle()
        if self.inline.noted or self.inline.moving:
            self.inline.settle()
        if self.submitter.has_news():
            self.submitter.advance()
        if self.callers.has_news():
            self.callers.advance()
        if self.store.has_news():
            self.store.settle()
        self.role.advance()

    def next_deadline(self) -> float | None:
        """When `on_time` must be called next."""
        due = self.submitter.deadline()
        for other in (
            self.callers.deadline(),
            self.recent.deadline(),
            self.role.next_deadline(),
        ):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def on_time(self) -> None:
        """Do what is due."""
        self.submitter.on_time()
        self.callers.on_time()
        self.recent.on_time()

    # -- ids and warnings -------------------------------------------------------------------------
    def new_id(self) -> ObjectId:
        """A fresh object id (results beyond the first are its siblings)."""
        return self._prefix + next(self._sequence).to_bytes(8, "big") + self._nonce

    def new_actor_id(self) -> ObjectId:
        """A fresh id of an actor and its lifeline."""
        return make_actor_id(self.me, next(self._short), self._nonce)

    def new_group_id(self) -> ObjectId:
        """A fresh id of a placement group."""
        return make_group_id(self.me, next(self._short), self._nonce)

    def new_token(self) -> int:
        """A fresh number for one of our questions."""
        return next(self._tokens)

    def environment(self) -> bytes:
        """The runtime environment that what is submitted now inherits, as canonical JSON."""
        context = running.get()
        return self.facts.environment if context is None else context.grant.environment

    def warn_once(self, text: str) -> None:
        """Tell the user, once per text."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s", text)

    def _say_relayed(self, why: str) -> None:
        """Say that messages to some processes of other nodes go through the raylets for good."""
        text = (
            "Processes of different nodes cannot all connect to each other directly; their "
            "messages pass through the raylets, which is slower"
        )
        if text not in self._warned and not self.is_worker:
            self._warned.add(text)
            logger.warning("%s: %s.", text, why)

    # -- messages --------------------------------------------------------------------------------
    def take(self, source: Address, message: Any, size: int) -> None:
        """Handle a message that arrived in a frame of `size` bytes."""
        kind = type(message)
        if kind not in UNCOUNTED:
            self.windows.on_received(source, size)
        if source & FIRST_OBSERVER and not roles.admits(source, message, self.send_now):
            return
        self.handlers[kind](source, message)

    def _on_done(self, source: Address, message: tasks.Done) -> None:
        left = self.submitter.on_done(source, message.results)
        if left:
            left = self.callers.on_done(source, left)
        if left:
            self.results.discard(source, left)

    def _on_refused(self, source: Address, message: tasks.Refused) -> None:
        self.submitter.on_refused_tasks(source, message)

    def _on_died(self, _: Address, message: leases.Died) -> None:
        self.ownership.on_process_died(message.target)
        self.callers.on_process_died(message.target)
        self.on_peers_gone(lambda address: address == message.target)
        self._transport.forget(message.target)

    def on_peers_gone(self, is_gone: Callable[[Address], bool]) -> None:
        """Processes that this one watched have ended."""
        self.answers.on_peers_gone(is_gone)
        self.results.on_peers_gone(is_gone)
        self.role.on_peers_gone(is_gone)

    def _on_node_gone(self, _: Address, message: leases.NodeGone) -> None:
        self.submitter.on_node_gone(message.node, message.reason)
        self.callers.on_node_gone(message.node)
        self.ownership.on_node_gone(message.node)
        self._transport.forget_node(message.node)
        self.on_peers_gone(lambda address: node_of(address) == message.node)

    def on_shutdown(self, _: Address, message: leases.Shutdown) -> None:
        """The cluster ends: everything that waits gets an error."""
        self.end(message.reason)
        self.role.on_shutdown(message.reason)

    def end(self, reason: str, kind: type[RayError] = RaySystemError) -> None:
        """The cluster is gone: objects not here yet will never come (leading thread)."""
        if self.ended is None:
            self.ended = reason
            self._ended_as = kind
            if not self.is_worker:
                self.fail_what_is_pending()
            unfinished, self.unfinished = list(self.unfinished), {}
            for arrival in unfinished:
                arrival.end()

    def end_error(self) -> RayError:
        """The error to raise where the ended cluster is needed."""
        return self._ended_as(f"The cluster has ended: {self.ended}")

    def close(self) -> None:
        """This process has left the cluster: break cycles that the garbage collector cannot see."""
        makers = self.streams.makers()
        for pending in itertools.chain(self._all_unfinished(), makers):
            pending.let_go()
        self.ownership.close()

    def fail_what_is_pending(self) -> None:
        """Let everything that is still pending fail with `end_error`."""
        error = dump_system_error(self.end_error())
        for oid, entry in list(self.ownership.table.items()):
            if entry.state != PENDING:
                continue
            if entry.task is not None:
                self.results.fail(entry.task, error)
            else:
                self.results.failures += 1
                self.ownership.resolve(oid, ERROR, error)

    def on_request(self, source: Address, message: cluster.Request) -> None:
        """Handle a question to this process."""
        data = self.answer(message.question)
        reply = cluster.Reply(message.token, msgspec.msgpack.encode(data))
        self.send_now(source, reply)

    def answer(self, question: Any) -> list[Any]:
        """The rows that a question asks for."""
        if isinstance(question, cluster.OwnedObjects):
            return list(inspection.objects(self.ownership, question.limit))
        if isinstance(question, cluster.OwnedTasks):
            there = self.role.answer(question) or []
            return [*self._unfinished(question.limit), *self._failed(question.limit), *there]
        if isinstance(question, looking.Stacks):
            return list(stacks.stacks())
        return self.role.answer(question) or []

    def _failed(self, limit: int) -> list[task_runs.TaskEvent]:
        """The tasks and calls of this process that have failed for good, the latest ones."""
        latest = list(self.results.latest_failures)[-limit:]
        return [inspection.failure_row(x, self.facts.job) for x in latest]

    def has_unfinished(self) -> bool:
        """Whether a task or call that this process has submitted has not ended (leading thread)."""
        return next(iter(self._all_unfinished()), None) is not None

    def _all_unfinished(self) -> Iterable[Pending]:
        return itertools.chain(self.submitter.unfinished(), self.callers.unfinished())

    def _unfinished(self, limit: int) -> list[task_runs.TaskEvent]:
        """The tasks and calls this process has submitted that have not ended."""
        listed = (x for x in self._all_unfinished() if not x.is_unlisted())
        found = itertools.islice(listed, limit)
        return [inspection.task_row(x, self.facts.job) for x in found]

    def _on_cancel_owned(self, _: Address, message: tasks.CancelOwned) -> None:
        self.cancel_now(message.oid, message.force, message.recursive)

    def _on_actor_is(self, _: Address, message: actors.ActorIs) -> None:
        waits = message.state == actors.PENDING and message.reason
        if waits and self.ownership.is_mine(message.actor):
            self.warn_once(f"An actor of this program waits: {message.reason}.")
        self.callers.on_actor_is(message)

    def _on_group_is(self, _: Address, message: actors.GroupIs) -> None:
        waits = message.state == actors.GROUP_PENDING and message.hopeless
        if waits and self.ownership.is_mine(message.group):
            self.warn_once(f"A placement group of this program waits: {message.text}.")
        for waiting in self.group_watchers.get(message.group, ()):
            waiting(message)

    def _on_fetched(self, _: Address, message: objects.Fetched) -> None:
        self.store.on_fetched(message)
        oid = message.oid
        entry = self.ownership.table.get(oid)
        if entry is None:
            return
        if entry.state == PENDING and not self.ownership.is_mine(oid):
            self.ownership.resolve(oid, STORED, node_of(self.me), message.size)
        view = self.store.view(oid)
        if view is not None:
            self.recent.keep(oid, entry, view)

    def _on_fetch_failed(self, _: Address, message: objects.FetchFailed) -> None:
        oid = message.oid
        entry = self.ownership.table.get(oid)
        if entry is not None and message.kind != objects.FULL:
            if message.kind == objects.VALUE:
                self.ownership.resolve(oid, INLINE, message.value)
            elif message.kind == objects.ERROR:
                self.results.failures += 1
                self.ownership.resolve(oid, ERROR, message.value)
            else:
                self.results.failures += 1
                error = failures.lost(message.kind, oid, message.text)
                self.ownership.resolve(oid, ERROR, error)
        self.store.on_fetch_failed(message)

    # -- objects ----------------------------------------------------------------------------------
    def look_for(self, ref: ObjectRef[Any]) -> None:
        """Have the state of a foreign object looked up (leading thread)."""
        oid = ref.binary()
        entry = self.ownership.table.get(oid)
        if entry is None or entry.state != PENDING or self.ownership.is_mine(oid):
            return
        if not entry.requested:
            entry.requested = True
            self.store.fetch([oid], [Promise()], pin=False)

    def cancel_now(self, oid: ObjectId, force: bool, recursive: bool) -> None:
        """Cancel the task or call that makes an object of ours (leading thread)."""
        entry = self.ownership.table.get(oid)
        if entry is None or entry.task is None or entry.state != PENDING:
            return
        pending = entry.task
        if pending.target is not None:
            self.callers.cancel(pending, recursive)
        else:
            self.submitter.cancel(pending, force, recursive)

    def _make_again(self, oid: ObjectId, entry: Entry) -> bytes | None:
        pending = entry.task
        if pending is None:
            return failures.lost(objects.LOST, oid)
        maker = self.submitter if pending.target is None else self.callers
        error = maker.make_again(oid, pending)
        if error is None and pending.stream is not None:
            pending.stream.reopen()
        return error

    def owner_raylet_of(self, oid: ObjectId) -> Address:
        """The raylet that keeps the object's directory entry."""
        return raylet_of(owner_node_of(oid))
