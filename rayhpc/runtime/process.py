"""One process that takes part in a cluster: its sockets, its tables, and the loop that serves them.

Made by `driver.py` and `worker.py`.  Everything that touches a socket or a table runs in the
thread that leads (`wire.handover`); user threads call `lead`, `wait_until` and the queues that
other modules name.  What users call is in `getting.py` and `api`.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import zmq

from rayhpc.exceptions import GetTimeoutError, RaySystemError
from rayhpc.runtime import failures
from rayhpc.runtime.calls import Callers
from rayhpc.runtime.entries import ERROR, INLINE, PENDING, STORED, Entry
from rayhpc.runtime.ownership import Ownership
from rayhpc.runtime.references import ObjectRef
from rayhpc.runtime.results import Results
from rayhpc.runtime.store_client import Box, StoreClient
from rayhpc.runtime.streams import Streams
from rayhpc.runtime.submission import Submitter
from rayhpc.store.mapping import Mapping
from rayhpc.wire import messages
from rayhpc.wire.address import (
    HEAD,
    Address,
    ObjectId,
    id_prefix,
    node_of,
    owner_node_of,
    raylet_of,
)
from rayhpc.wire.codec import Decoder
from rayhpc.wire.handover import Handover
from rayhpc.wire.messages import actors, cluster, leases, objects, tasks
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.transport import Transport

logger = logging.getLogger("rayhpc")


class Process:
    """One driver or worker.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
    """

    is_worker = False

    def __init__(self, facts: Facts, mapping: Mapping) -> None:
        self.facts = facts
        self.me = facts.address
        self.raylet = raylet_of(node_of(self.me))
        self.ended: str | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.transport = Transport(self._context, self.me, facts.session_dir)
        self.handover = Handover()
        send = self.transport.send
        self.ownership = Ownership(self.me, send, self._make_again, failures.lost)
        self.results = Results(self.ownership, send)
        self.submitter = Submitter(
            self.me, self.ownership, self.results, send, time.monotonic, self.warn_once
        )
        self.callers = Callers(self.me, self.ownership, self.results, send)
        self.streams = Streams(self.ownership, self.results, send)
        self.store = StoreClient(mapping, self.raylet, send)
        self._prefix = id_prefix(self.me)
        self._sequence = itertools.count(1)
        self._tokens = itertools.count(1)
        self._replies: dict[int, Any] = {}
        self._actions: deque[Callable[[], None]] = deque()
        self._warned: set[str] = set()
        self._callback_pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._decode = Decoder(messages.PROCESS_TAKES)
        self._handlers = self.make_handlers()
        self._poller = zmq.Poller()
        for sock in self.transport.sockets:
            self._poller.register(sock, zmq.POLLIN)
        self._poller.register(self.handover.wake_fd, zmq.POLLIN)

    # -- life ------------------------------------------------------------------------------------
    def start(self) -> None:
        """Let the background thread serve while nobody waits."""
        self.handover.start(self.pump)

    def close(self) -> None:
        """End: no message is handled after this."""
        self.handover.stop()
        self.transport.close()
        self.store.close()
        if self._callback_pool is not None:
            self._callback_pool.shutdown(wait=False, cancel_futures=True)
        self._context.destroy(linger=500)

    def abandon(self) -> None:
        """In a child that the user's code forked: never touch the parent's sockets."""
        self.handover.abandon()

    def make_handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        """What is done with each message; a worker adds its own."""
        own, sub, act, res = self.ownership, self.submitter, self.callers, self.results
        return {
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
            leases.LogLines: self.on_log_lines,
            objects.Borrow: lambda _, m: own.on_borrow(m),
            objects.Borrowed: lambda _, m: own.on_borrowed(m),
            objects.Return: lambda _, m: own.on_return(m),
            objects.Ask: lambda _, m: own.on_ask(m),
            objects.CopiesLost: lambda _, m: own.on_copies_lost(m),
            objects.StoreCreated: lambda _, m: self.store.on_created(m),
            objects.Fetched: self._on_fetched,
            objects.FetchFailed: self._on_fetch_failed,
            actors.ActorCreated: lambda _, m: self._replies.__setitem__(m.token, m),
            actors.ActorIs: lambda _, m: act.on_actor_is(m),
            actors.GroupIs: self._on_group_is,
            cluster.Reply: lambda _, m: self._replies.__setitem__(m.token, m),
            cluster.Request: self.on_request,
        }

    # -- the loop --------------------------------------------------------------------------------
    def pump(self, timeout: float | None) -> None:
        """Handle what has come; if nothing has, wait for it. Only the leading thread calls this."""
        self._advance()
        if not self._receive():
            self._poll(timeout)
            self._receive()
        self._advance()

    def lead(self) -> AbstractContextManager[Any]:
        """The right to touch sockets and tables, for a short action."""
        return self.handover.lead()

    def flush(self) -> None:
        """Send what submitting threads have queued (takes the lead)."""
        with self.handover.lead():
            self._advance()

    def wait_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serve until `done()`; False if the time (seconds) is over first.

        Raises:
            RaySystemError: the cluster has ended.
        """
        if done():
            return True
        self.handover.wait(lambda: done() or self.ended is not None, self.pump, timeout)
        if not done() and self.ended is not None:
            raise RaySystemError(f"The cluster has ended: {self.ended}")
        return done()

    def wait_blocking(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """`wait_until` for user code: a worker gives its CPUs back meanwhile."""
        return self.wait_until(done, timeout)

    def future_of(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """A future that is completed with the value or error of `ref`."""
        from rayhpc.runtime.getting import get_values

        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def finish() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(get_values(self, [ref], None)[0])
            except BaseException as error:
                future.set_exception(error)

        self.when_ready(ref, lambda: self.callback_pool().submit(finish) and None)
        return future

    def later(self, action: Callable[[], None]) -> None:
        """Run `action` in the leading thread, soon; for finalizers and foreign threads."""
        self._actions.append(action)

    def _advance(self) -> None:
        while self._actions:
            self._actions.popleft()()
        if self.ownership.events:
            self.ownership.settle()
        self.submitter.advance()
        self.callers.advance()
        if self.store.has_news():
            self.store.settle()

    def _receive(self) -> bool:
        any_ = False
        for frame in self.transport.receive():
            any_ = True
            try:
                message = self._decode(frame)
            except msgspec.DecodeError as error:
                logger.warning("refused a malformed message: %s", error)
                continue
            self._handlers[type(message)](int.from_bytes(frame[8:16], "big"), message)
        return any_

    def _poll(self, timeout: float | None) -> None:
        deadline = self.next_deadline()
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        # Rounded up: a poll of 0 ms before the deadline would spin.
        milliseconds = None if timeout is None else int(timeout * 1000 + 0.999)
        for source, _ in self._poller.poll(milliseconds):
            if source == self.handover.wake_fd:
                self.handover.drain()
        if deadline is not None:
            self.on_time()

    def next_deadline(self) -> float | None:
        """When `on_time` wants to be called."""
        return self.submitter.deadline()

    def on_time(self) -> None:
        """Do what is due."""
        self.submitter.on_time()

    # -- ids, questions, warnings ----------------------------------------------------------------
    def new_id(self) -> ObjectId:
        """A fresh object id (results beyond the first are its siblings)."""
        return self._prefix + next(self._sequence).to_bytes(8, "big")

    def new_token(self) -> int:
        """A fresh number for a question of ours."""
        return next(self._tokens)

    def ask(
        self, address: Address, question: Any, kind: Any, timeout: float | None = 30.0
    ) -> Any:
        """Ask the head, a raylet or a process; the answer is decoded as `kind`.

        Raises:
            GetTimeoutError: no answer within `timeout` seconds.
            RaySystemError: the answer is an error.
        """
        token = self.new_token()
        reply = self.exchange(address, cluster.Request(token, question), token, timeout)
        if reply.error:
            raise RaySystemError(reply.error)
        return msgspec.msgpack.decode(reply.data, type=kind)

    def ask_head(self, question: Any, kind: Any, timeout: float | None = 30.0) -> Any:
        """`ask` the head."""
        return self.ask(HEAD, question, kind, timeout)

    def exchange(
        self, address: Address, message: msgspec.Struct, token: int, timeout: float | None = 30.0
    ) -> Any:
        """Send a message and wait for the one that answers it (by `token`)."""
        with self.lead():
            self.transport.send(address, message)
        if not self.wait_until(lambda: token in self._replies, timeout):
            raise GetTimeoutError(
                f"No answer from {address} within {timeout} s; `rayhpc status` shows who is alive."
            )
        return self._replies.pop(token)

    def send(self, address: Address, message: msgspec.Struct) -> None:
        """Send one message (takes the lead)."""
        with self.lead():
            self.transport.send(address, message)

    def warn_once(self, text: str) -> None:
        """Tell the user, once per text."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s", text)

    # -- messages --------------------------------------------------------------------------------
    def _on_done(self, source: Address, message: tasks.Done) -> None:
        if not self.submitter.on_done(source, message.results):
            self.callers.on_done(source, message.results)

    def _on_refused(self, source: Address, message: tasks.Refused) -> None:
        self.submitter.on_refused_tasks(source, message)

    def _on_died(self, _: Address, message: leases.Died) -> None:
        self.ownership.on_process_died(message.target)
        self.callers.on_process_died(message.target)
        self.transport.forget(message.target)

    def _on_node_gone(self, _: Address, message: leases.NodeGone) -> None:
        self.submitter.on_node_gone(message.node, message.reason)
        self.callers.on_node_gone(message.node)
        self.ownership.on_node_gone(message.node)

    def on_shutdown(self, _: Address, message: leases.Shutdown) -> None:
        """The cluster ends: whoever waits gets an error."""
        self.ended = message.reason

    def on_log_lines(self, _: Address, message: leases.LogLines) -> None:
        """Lines that workers printed (drivers print them)."""

    def on_request(self, source: Address, message: cluster.Request) -> None:
        """A question to this process."""
        data = self.answer(message.question)
        reply = cluster.Reply(message.token, msgspec.msgpack.encode(data))
        self.transport.send(source, reply)

    def answer(self, question: Any) -> list[Any]:
        """The rows a question asks for."""
        from rayhpc.runtime import inspection

        if isinstance(question, cluster.OwnedObjects):
            return inspection.objects(self, question.limit)
        if isinstance(question, cluster.OwnedTasks):
            return inspection.tasks(self, question.limit)
        return []

    def _on_cancel_owned(self, _: Address, message: tasks.CancelOwned) -> None:
        self.cancel_now(message.oid, message.force, message.recursive)

    def _on_group_is(self, _: Address, message: actors.GroupIs) -> None:
        for waiting in self.group_watchers.get(message.group, ()):
            waiting(message)

    group_watchers: dict[bytes, list[Callable[[actors.GroupIs], None]]] = {}

    def _on_fetched(self, _: Address, message: objects.Fetched) -> None:
        self.store.on_fetched(message)
        entry = self.ownership.table.get(message.oid)
        if entry is not None and entry.state == PENDING and not self.ownership.is_mine(message.oid):
            self.ownership.resolve(message.oid, STORED, node_of(self.me), message.size)

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

    # -- objects ---------------------------------------------------------------------------------
    def entry_of(self, ref: ObjectRef[Any]) -> Entry:
        """The table's row of a reference held here."""
        entry = self.ownership.table.get(ref.binary())
        if entry is None:
            with self.lead():
                self.ownership.settle()
            entry = self.ownership.table[ref.binary()]
        return entry

    def look_for(self, ref: ObjectRef[Any]) -> None:
        """Have a foreign object's state found out (leading thread)."""
        oid = ref.binary()
        entry = self.ownership.table.get(oid)
        if entry is None or entry.state != PENDING or self.ownership.is_mine(oid):
            return
        if not entry.requested:
            entry.requested = True
            self.store.fetch([oid], [Box()], pin=False)

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], None]) -> None:
        """Run `callback` in the leading thread once the object is there or has failed."""
        entry = self.entry_of(ref)
        with self.lead():
            entry.when_ready(callback)
            self.look_for(ref)

    def callback_pool(self) -> concurrent.futures.ThreadPoolExecutor:
        """The thread that completes futures: user callbacks never run in the leading thread."""
        if self._callback_pool is None:
            self._callback_pool = concurrent.futures.ThreadPoolExecutor(1, "rayhpc-callbacks")
        return self._callback_pool

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

    def _make_again(self, entry: Entry) -> bool:
        return self.submitter.make_again(entry)

    def owner_raylet_of(self, oid: ObjectId) -> Address:
        """The raylet that keeps the object's directory entry."""
        return raylet_of(owner_node_of(oid))
