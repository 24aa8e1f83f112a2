"""A simulated worker: what `runtime.worker` and `runtime.actor_host` do, on the world's clock.

Follows the same rules (`docs/explanation/protocol.md`): the started task is noted in the slot,
results are in the journal until they have gone out, a task that waits gives its CPU back and has
what is queued behind it refused, a revoked lease ends after the running task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages import actors, leases, tasks

from .running import Runner, SimSlot


class SimWorker(Runner):
    """One simulated worker; `slot` outlives it."""

    is_worker = True

    def __init__(self, *args: Any, slot: SimSlot, ended: Callable[[SimWorker], None]) -> None:
        self._holder: Address = 0
        self._revoked = 0
        self._ending: str | None = None
        self._ended = ended
        super().__init__(*args, slot=slot)
        with self.turn():
            self.send(self.raylet, leases.WorkerReady(self.me & 0xFFFFFFFF))

    def make_handlers(self) -> dict[type, Callable[[Address, Any], None]]:
        """A process's handlers, and a worker's own."""
        return {
            **super().make_handlers(),
            tasks.Push: self._on_push,
            tasks.Calls: self._on_calls,
            tasks.Recall: self._on_recall,
            tasks.Cancel: self._on_cancel,
            tasks.Adopted: lambda _, m: [self._kept.pop(t, None) for t in m.tids],
            tasks.StreamTaken: lambda _, m: self.producers.on_taken(m),
            leases.Revoke: self._on_revoke,
            leases.AssignJob: lambda _, m: None,
            leases.ExitIfIdle: self._on_exit_if_idle,
            actors.Construct: self._on_construct,
            actors.EndActor: self._on_end_actor,
        }

    # -- messages ---------------------------------------------------------------------------------
    def _on_push(self, submitter: Address, message: tasks.Push) -> None:
        self._definitions.update(message.definitions)
        if message.lease <= self._revoked or self._blocked:
            ended = message.lease <= self._revoked
            tids = [t.tid for t in message.tasks]
            self.send(
                submitter, tasks.Refused(message.lease, tids, blocked=not ended, ended=ended)
            )
            return
        if message.grant is not None:
            self._holder = submitter
            self.grant = message.grant
            self.facts = msgspec.structs.replace(self.facts, job=message.grant.job)
        self.queue.extend((task, submitter, message.lease) for task in message.tasks)
        self.go_on()

    def _on_calls(self, caller: Address, message: tasks.Calls) -> None:
        self.queue.extend((call, caller, 0) for call in message.calls)
        self.go_on()

    def _on_recall(self, submitter: Address, message: tasks.Recall) -> None:
        back: list[ObjectId] = []
        while self.queue and len(back) < message.count:
            back.insert(0, self.queue.pop()[0].tid)
        self.send(submitter, tasks.Refused(message.lease, back))

    def _on_cancel(self, source: Address, message: tasks.Cancel) -> None:
        if message.recursive:
            for child in self.submitter.children_of(message.tid):
                self.submitter.cancel(child, False, True)
            for call in self.callers.children_of(message.tid):
                self.callers.cancel(call, True)
        if self.running_tid == message.tid:
            self._cancelled = message.tid
            return
        for item in list(self.queue):
            if item[0].tid == message.tid:
                self.queue.remove(item)
                result = tasks.Result(message.tid, tasks.CANCELLED, [b""])
                self.send(source, tasks.Done([result]))

    def _on_revoke(self, _: Address, message: leases.Revoke) -> None:
        self._revoked = max(self._revoked, message.lease)
        waiting = self._unstarted()
        if self._holder:
            waiting.setdefault(self._holder, [])  # also told of a lease that idles
        for submitter, tids in waiting.items():
            self.send(submitter, tasks.Refused(message.lease, tids, ended=True))
        self._revoke_after = message.lease
        if not self._busy:
            self._end_lease()

    def _on_exit_if_idle(self, _: Address, message: leases.ExitIfIdle) -> None:
        if self._busy or self.queue or self.ownership.holds_others() or self.actor is not None:
            self.send(self.raylet, leases.StillNeeded())
        else:
            self.leave()

    def _on_construct(self, _: Address, message: actors.Construct) -> None:
        self.actor = message
        self._busy = True
        self.start(self._construct(message.spec))

    def _on_end_actor(self, _: Address, message: actors.EndActor) -> None:
        self._ending = message.reason
        self.go_on()

    def on_shutdown(self, source: Address, message: leases.Shutdown) -> None:
        """The node ends."""
        super().on_shutdown(source, message)
        self.leave()

    # -- running ----------------------------------------------------------------------------------
    def go_on(self) -> None:
        """Start what comes next, if nothing runs."""
        if self._busy or not self.alive:
            return
        if self.queue:
            self._busy = True
            actor = self.actor is not None
            self.start(self._run_first() if actor else self._run_one(*self.queue.popleft()))
        elif self._ending is not None:
            self.leave()

    def end(self) -> None:
        """Be dead from now on."""
        with self.turn():
            self._kept.clear()
            self.state.clear()
            self.queue.clear()
        super().end()

    # -- leases, the end --------------------------------------------------------------------------
    def leave(self) -> None:
        """Exit in good order."""
        if self.alive:
            self.world.after(0.0, self._gone)

    def _gone(self) -> None:
        if self.alive:
            self._send_replies()
            self._ended(self)
