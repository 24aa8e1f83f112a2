"""One process that takes part in a cluster: the loop that serves its sockets, and waiting.

Made by `driver.py` and `worker.main`, which hand it its sockets, and by the simulation, which hands
it others.  Its decisions are in `core.py`.  Everything that touches a socket or a table runs in the
thread that leads (`wire.handover`); user threads call `lead`, `wait_until` and the queues that
other modules name.  What users call is in `getting.py` and `api`.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from rayhpc.exceptions import GetTimeoutError, RaySystemError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.entries import Entry
from rayhpc.runtime.process.callbacks import CallbackThread
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.role import Role
from rayhpc.runtime.process.sockets import Sockets
from rayhpc.runtime.values import references
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.store.mapping import Mapping
from rayhpc.wire.address import (
    HEAD,
    Address,
)
from rayhpc.wire.messages import cluster
from rayhpc.wire.messages.start import Facts


class Process(Core):
    """One driver or worker.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
        sockets: what it sends and receives with, and who may touch it.
        now: the time in seconds, monotonic.
    """

    def __init__(
        self,
        facts: Facts,
        mapping: Mapping,
        sockets: Sockets,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sockets = sockets
        self.transport = sockets.transport
        self.handover = sockets.handover
        self.callbacks = CallbackThread()
        self.role = Role(self)
        super().__init__(facts, mapping, self.transport.windows, now)

    # -- life ------------------------------------------------------------------------------------
    def start(self) -> None:
        """Let the background thread serve while nobody waits."""
        references.bell.ring = self.handover.rouse
        self.store.rouse_with(self.handover.rouse)
        self.handover.start(self.pump)

    def later(self, action: Callable[[], None]) -> None:
        """Run `action` in the leading thread, soon; for finalizers and foreign threads."""
        super().later(action)
        self.handover.rouse()

    def close(self) -> None:
        """End: no message is handled after this; other threads that wait get an error."""
        if self.ended is None:
            self.ended = "this process has left it; rayhpc.init() joins one again"
        references.bell.ring = None
        self.store.rouse_with(None)
        self.handover.stop()
        self.transport.close()
        self.store.close()
        self.callbacks.close()
        self._sockets.close()

    def abandon(self) -> None:
        """In a child that the user's code forked: never touch the parent's sockets."""
        self.handover.abandon()

    # -- the loop --------------------------------------------------------------------------------
    def pump(self, timeout: float | None) -> None:
        """Handle what has come; if nothing has, wait for it. Only the leading thread calls this."""
        self.advance()
        deadline = self.next_deadline()
        if deadline is not None:
            left = max(0.0, deadline - self.now())
            timeout = left if timeout is None else min(timeout, left)
        self._sockets.poll(timeout, self.take, self.on_readable)
        if deadline is not None and deadline <= self.now():
            self.on_time()
        self.advance()

    def watch(self, descriptor: int) -> None:
        """Have `on_readable` called when a descriptor can be read; before `start`."""
        self._sockets.watch(descriptor)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch` (leading thread)."""
        self._sockets.unwatch(descriptor)

    def on_readable(self, descriptor: int) -> None:
        """A descriptor that is watched can be read (leading thread)."""

    def lead(self) -> AbstractContextManager[Any]:
        """The right to touch sockets and tables, for a short action."""
        return self.handover.lead()

    def flush(self) -> None:
        """Send what submitting threads have queued (takes the lead)."""
        with self.handover.lead():
            self.advance()

    def wait_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serve until `done()`; False if the time (seconds) is over first.

        Raises:
            RaySystemError, LocalRayletDiedError: the cluster has ended.
        """
        if done():
            return True
        try:
            waited = self.handover.wait(
                lambda: done() or self.ended is not None, self.pump, timeout
            )
        except RuntimeError:
            if self.ended is None:
                raise
            raise self.end_error() from None
        if self.ended is not None and not done():
            raise self.end_error()
        return waited

    def wait_blocking(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """`wait_until` for user code: a worker gives its CPUs back meanwhile."""
        return self.role.wait_blocking(done, timeout)

    def future_of(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """A future that is completed with the value or error of `ref`."""
        from rayhpc.runtime.values.getting import get_values

        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def finish() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(get_values(self, [ref], None)[0])
            except BaseException as error:
                future.set_exception(error)

        self.callbacks.start()
        self.when_ready(ref, lambda: self.callbacks.submit(finish))
        return future

    # -- ids, questions, warnings ----------------------------------------------------------------
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
        if not self.wait_until(lambda: token in self.replies, timeout):
            raise GetTimeoutError(
                f"No answer from {address} within {timeout} s; `rayhpc status` shows who is alive."
            )
        return self.replies.pop(token)

    def send(self, address: Address, message: msgspec.Struct) -> None:
        """Send one message (takes the lead)."""
        with self.lead():
            self.transport.send(address, message)

    # -- objects ---------------------------------------------------------------------------------
    def entry_of(self, ref: ObjectRef[Any]) -> Entry:
        """The table's row of a reference held here.

        Raises:
            RaySystemError: it belongs to a cluster that this process has left.
        """
        entry = self.ownership.table.get(ref.binary())
        if entry is None:
            with self.lead():
                self.ownership.settle()
            entry = self.ownership.table.get(ref.binary())
        if entry is None:
            raise failures.of_another_cluster(repr(ref))
        return entry

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run `callback` in the leading thread once the object is there or has failed."""
        entry = self.entry_of(ref)
        with self.lead():
            entry.when_ready(callback)
            self.look_for(ref)
            if self.ended is not None:
                self.fail_what_is_pending()

    def forget(self, address: Address) -> None:
        """A process has ended: drop the route to it."""
        self.transport.forget(address)
