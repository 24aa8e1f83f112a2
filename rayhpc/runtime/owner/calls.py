"""Actor calls on the caller's side: order, where the actor is, and what its death means for them.

A state machine like `submission`: driven by the leading thread and by the simulation.  Other
threads append to `inbox`.  The rules: `docs/explanation/protocol.md`, section Actors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from rayhpc.runtime.owner import dependencies, failures
from rayhpc.runtime.owner.actor_client import NO_CALLS, ActorClient
from rayhpc.runtime.owner.ownership import Ownership, hold
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.owner.results import Results
from rayhpc.runtime.owner.retry_pauses import RetryPauses
from rayhpc.wire import limits
from rayhpc.wire.address import HEAD, Address, ObjectId, node_of
from rayhpc.wire.messages import actors, tasks

Send = Callable[[Address, msgspec.Struct], None]

# What is known of so many dead actors is kept though nobody here seems to refer to them: handles
# that came by name, or that do not keep their actor alive, are not counted.
DEAD_KEPT = 1_000


class Callers:
    """All actors that this process calls.

    Args:
        me: this process's address.
        ownership: its reference table.
        results: what is done with results and failures.
        send: sends a message.
        has_room: whether a message sent to a process now goes out at once.
        now: the time in seconds, monotonic.
    """

    def __init__(
        self,
        me: Address,
        ownership: Ownership,
        results: Results,
        send: Send,
        has_room: Callable[[Address], bool],
        now: Callable[[], float],
    ) -> None:
        self.me = me
        self.inbox: deque[Pending] = deque()
        self._ownership = ownership
        self._results = results
        self._send = send
        self._has_room = has_room
        self._clients: dict[ObjectId, ActorClient[Pending]] = {}
        self._by_address: dict[Address, ActorClient[Pending]] = {}
        self._dirty: dict[ActorClient[Pending], None] = {}
        # Dead actors, in the order of their deaths.
        self._dead: dict[ObjectId, None] = {}
        # Of calls that are among their clients' `delayed`.
        self._pauses = RetryPauses(now)

    def client_of(self, actor: ObjectId) -> ActorClient[Pending]:
        """The view of an actor; may be called by any thread."""
        client = self._clients.get(actor)
        if client is None:
            client = self._clients.setdefault(actor, ActorClient(actor))
        return client

    # -- the leading thread ----------------------------------------------------------------------
    def watch(self, client: ActorClient[Pending]) -> None:
        """Watch the actor's state from now on."""
        if not client.watched:
            client.watched = True
            self._send(HEAD, actors.WatchActor(client.actor))

    def kill(self, actor: ObjectId, no_restart: bool) -> None:
        """Have an actor's process killed; later calls do not reach it any more."""
        self.advance()
        client = self.client_of(actor)
        message = actors.KillActor(actor, no_restart)
        if client.unregistered is not None:
            client.unregistered.append(message)
            return
        client.killed = no_restart or client.state == actors.ALIVE
        self._send(HEAD, message)

    def advance(self) -> None:
        """Process submitted calls, and send what can be sent."""
        inbox = self.inbox
        while inbox:
            self._take_in(inbox.popleft())
        while self._dirty:
            client, _ = self._dirty.popitem()
            self._send_ready(client)

    def on_time(self) -> None:
        """Repeat the calls whose pause is over."""
        self._pauses.on_time()

    def deadline(self) -> float | None:
        """When `on_time` wants to be called; None: not before something happens."""
        return self._pauses.deadline()

    def has_news(self) -> bool:
        """Whether `advance` has something to do."""
        return bool(self.inbox or self._dirty)

    def cancel(self, pending: Pending, recursive: bool) -> None:
        """Cancel a call: here if it has not been sent, else at the actor."""
        if pending.cancelled:
            return
        pending.cancelled = True
        client = _target(pending)
        if pending.tid in client.inflight:
            pending.leftover = True
            self._send(client.address, tasks.Cancel(pending.tid, recursive))
            return
        for waiting in (client.queue, client.again):
            if pending in waiting:
                waiting.remove(pending)
        client.delayed.pop(pending.tid, None)
        self._results.fail(pending, failures.cancelled(pending))

    def make_again(self, oid: ObjectId, pending: Pending) -> bytes | None:
        """Repeat a call whose result was lost; returns the error if that is impossible."""
        client = _target(pending)
        waits = pending.missing or pending in client.again or pending in client.queue
        if waits or pending.tid in client.inflight or pending.tid in client.delayed:
            return None
        if pending.retries == 0:
            return failures.out_of_retries(oid, pending)
        pending.more = msgspec.structs.replace(pending.more or tasks.TaskMore(), again=True)
        if client.state == actors.DEAD:
            return self._death(client, pending)
        pending.retries -= pending.retries > 0
        pending.cancelled = False  # the cancellation came too late
        pending.leftover = True
        self._results.begin_again(pending)
        if client.actor in self._ownership.table:
            pending.keep = [*hold([client.actor]), *(pending.keep or ())]
        if pending.deps:
            dependencies.when_ready(self._ownership, pending, self._ready_again)
        else:
            self._ready_again(pending)
        return None

    def children_of(self, tid: ObjectId) -> list[Pending]:
        """The unanswered calls that task `tid` made from this process."""
        return [p for p in self.unfinished() if p.parent == tid]

    def unfinished(self) -> Iterable[Pending]:
        """Every call that is waiting or running."""
        for client in list(self._clients.values()):
            yield from list(client.queue)
            yield from list(client.delayed.values())
            yield from list(client.again)
            yield from list(client.inflight.values())

    # -- messages --------------------------------------------------------------------------------
    def on_actor_is(self, message: actors.ActorIs) -> None:
        """The head reports where an actor is, or that it is not alive."""
        client = self.client_of(message.actor)
        if client.state == actors.DEAD or message.incarnation < client.incarnation:
            return
        moved = message.incarnation != client.incarnation and client.incarnation >= 0
        if moved or message.state != actors.ALIVE:
            client.killed = False
        if client.state == actors.ALIVE and (message.state != actors.ALIVE or moved):
            self._by_address.pop(client.address, None)
            self._lost(client, message)
        client.state = message.state
        client.incarnation = message.incarnation
        client.reason = message.reason
        client.error = message.error
        client.node_id = message.node_id
        client.unschedulable = message.unschedulable
        client.has_lived = message.has_lived
        if message.state == actors.ALIVE:
            client.address = message.address
            self._by_address[message.address] = client
        elif message.state == actors.DEAD:
            self._fail_all(client)
            client.queue = client.again = NO_CALLS
            self._forget_old_deaths(client.actor)
        elif message.state == actors.RESTARTING and client.has_lived:
            self._fail_without_retries(client)
        self._dirty[client] = None
        watchers, client.watchers = client.watchers, []
        for watcher in watchers:
            watcher()

    def on_done(self, source: Address, results: list[tasks.Result]) -> list[tasks.Result]:
        """An actor answers calls; returns the answers that nobody waits for (any more)."""
        client = self._by_address.get(source)
        if client is None:
            return results
        left: list[tasks.Result] = []
        for result in results:
            pending = client.inflight.pop(result.tid, None)
            if pending is None:
                left.append(result)
                continue
            if not self._results.take(source, pending, result):
                client.delayed[pending.tid] = pending
                self._pauses.begin(pending, self._repeat)
        return left

    def on_room(self, address: Address) -> None:
        """A process has read what was sent to it: an actor there gets the next calls."""
        client = self._by_address.get(address)
        if client is not None:
            self._dirty[client] = None

    def on_process_died(self, address: Address) -> None:
        """A process has ended; the head says what that means for an actor."""
        self._by_address.pop(address, None)

    def on_node_gone(self, node: int) -> None:
        """A node is gone, with every actor on it; the head says what follows."""
        for address in [a for a in self._by_address if node_of(a) == node]:
            self.on_process_died(address)

    # -- details ---------------------------------------------------------------------------------
    def _repeat(self, pending: Pending) -> None:
        """Send a call that raised once more, unless it has failed in the meantime."""
        client = _target(pending)
        if client.delayed.pop(pending.tid, None) is not None:
            self._results.begin_again(pending)
            client.queue.append(pending)
            self._dirty[client] = None

    def _take_in(self, pending: Pending) -> None:
        client = _target(pending)
        if client.state == actors.DEAD:
            self._results.fail(pending, self._death(client, pending))
            return
        if client.state == actors.RESTARTING and client.has_lived and not _may_wait(pending):
            self._results.fail(pending, self._unavailable(client))
            return
        self.watch(client)
        self._results.enter(pending)
        if pending.deps and client.overtakes:
            client.delayed[pending.tid] = pending
        else:
            client.queue.append(pending)
        if pending.deps:
            pending.missing = -1
            dependencies.when_ready(self._ownership, pending, self._deps_ready)
        self._dirty[client] = None

    def _deps_ready(self, pending: Pending) -> None:
        client = _target(pending)
        found, error = dependencies.resolved(self._ownership, pending)
        was_delayed = client.delayed.pop(pending.tid, None) is not None
        if was_delayed:
            client.queue.append(pending)
        if error is None:
            pending.ready = tuple(found)
        elif pending in client.queue:
            client.queue.remove(pending)
            self._results.fail(pending, error)
        pending.missing = 0
        self._dirty[client] = None

    def _ready_again(self, pending: Pending) -> None:
        """The arguments of a call that reconstructs a lost result are ready."""
        client = _target(pending)
        found, error = dependencies.resolved(self._ownership, pending)
        if pending.cancelled:
            return
        if error is None and client.state == actors.DEAD:
            error = self._death(client, pending)
        if error is not None:
            self._results.fail(pending, error)
            return
        pending.ready = tuple(found)
        client.again.append(pending)
        self._dirty[client] = None

    def _send_ready(self, client: ActorClient[Pending]) -> None:
        """Send calls in order, up to the first whose arguments are not ready yet."""
        if client.state != actors.ALIVE or client.killed:
            return
        if self._by_address.get(client.address) is not client:
            return  # its process has ended: the head says what follows
        if not self._has_room(client.address):
            return  # what waits here can still be cancelled; `on_room` follows
        queue = client.queue
        batch: list[tasks.Call] = []
        total = 0
        while True:
            if queue and queue[0].missing == 0:
                pending = queue.popleft()
            elif client.again:
                pending = client.again.popleft()
            else:
                break
            total += pending.size + limits.OVERHEAD_BYTES
            if total > limits.BATCH_BYTES and batch:
                self._send_calls(client, batch)
                batch, total = [], pending.size
                if not self._has_room(client.address):
                    (client.again if pending.is_again() else queue).appendleft(pending)
                    return
            client.inflight[pending.tid] = pending
            batch.append(
                tasks.Call(
                    pending.tid,
                    pending.method,
                    pending.args,
                    pending.ready,
                    pending.returns,
                    pending.attempt,
                    pending.group,
                    pending.more,
                    pending.submitted,
                )
            )
        if batch:
            self._send_calls(client, batch)

    def _send_calls(self, client: ActorClient[Pending], batch: list[tasks.Call]) -> None:
        try:
            self._send(client.address, tasks.Calls(client.actor, batch))
        except (ValueError, TypeError, OverflowError) as error:
            # `remote()` should have rejected it; nobody will ever answer these.
            for call in batch:
                pending = client.inflight.pop(call.tid)
                self._results.fail(pending, failures.not_sent(pending, error))

    def _forget_old_deaths(self, latest: ObjectId) -> None:
        """One more actor is dead: forget older ones, unless handles here refer to them.

        A handle that is used after all asks the head again.
        """
        dead = self._dead
        dead[latest] = None
        for _ in range(2):  # more than come: the rest shrinks
            if len(dead) <= DEAD_KEPT:
                return
            oldest = next(iter(dead))
            del dead[oldest]
            if oldest in self._ownership.table:
                dead[oldest] = None
            else:
                del self._clients[oldest]

    def _lost(self, client: ActorClient[Pending], message: actors.ActorIs) -> None:
        """The process that had our calls is gone: repeat them in order, or fail them."""
        inflight = list(client.inflight.values())
        client.inflight.clear()
        for pending in inflight:
            pending.leftover = True
        if message.state == actors.DEAD:
            client.queue.extendleft(reversed(inflight))
            return
        for pending in reversed(inflight):
            if pending.cancelled:
                self._results.fail(pending, failures.cancelled(pending))
            elif pending.retries == 0:
                self._results.fail(pending, self._unavailable(client))
            else:
                pending.retries -= pending.retries > 0
                self._results.begin_again(pending)
                client.queue.appendleft(pending)

    def _fail_all(self, client: ActorClient[Pending]) -> None:
        for waiting in (client.queue, client.again):
            while waiting:
                pending = waiting.popleft()
                self._results.fail(pending, self._death(client, pending))
        while client.delayed:
            _, pending = client.delayed.popitem()
            self._results.fail(pending, self._death(client, pending))

    def _fail_without_retries(self, client: ActorClient[Pending]) -> None:
        for pending in [*client.queue, *client.delayed.values()]:
            if not _may_wait(pending):
                if client.delayed.pop(pending.tid, None) is None:
                    client.queue.remove(pending)
                self._results.fail(pending, self._unavailable(client))

    def _death(self, client: ActorClient[Pending], pending: Pending) -> bytes:
        if client.unschedulable:
            return failures.actor_unschedulable(client.reason)
        text = (
            f"{pending.name}() will not run (actor_id {client.actor.hex()}). The actor is dead "
            f"because {client.reason or 'its process ended'}."
        )
        if pending.is_again():
            text += " A result of that call was lost with its node and cannot be made again."
        return failures.actor_died(text, client.actor, client.error)

    def _unavailable(self, client: ActorClient[Pending]) -> bytes:
        text = (
            f"The actor is restarting, because {client.reason or 'its process ended'} (actor_id "
            f"{client.actor.hex()}); the call may or may not have run. Set max_task_retries to "
            "have such calls repeated."
        )
        return failures.actor_unavailable(text, client.actor)


def _may_wait(pending: Pending) -> bool:
    """Whether a call waits while its actor restarts: if it had retries, including the last one."""
    return pending.retries != 0 or pending.attempt > 0


def _target(pending: Pending) -> ActorClient[Pending]:
    assert pending.target is not None
    return pending.target
