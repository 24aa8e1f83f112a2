"""The interface of `rayhpc.api` and the utilities to the runtime: submit, call, put, get, wait,
cancel, watch, ask.  The only way in.

Made by `driver` and `worker`, found with `current.client()`.  Every method may be called from any
user thread; this module moves what must happen there to the leading thread.
"""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from rayhpc.exceptions import ActorAlreadyExistsError
from rayhpc.runtime.owner import failures
from rayhpc.runtime.owner.actor_client import ActorClient
from rayhpc.runtime.owner.actor_creation import ActorCreation
from rayhpc.runtime.owner.class_queue import AHEAD, BATCH, GATHER, ClassQueue
from rayhpc.runtime.owner.definitions import Definition
from rayhpc.runtime.owner.entries import ERROR, PENDING, STORED, Entry
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.process.core import Core
from rayhpc.runtime.process.futures import Futures
from rayhpc.runtime.process.generators import Generators
from rayhpc.runtime.process.getting import get_values
from rayhpc.runtime.process.groups import WatchedGroups
from rayhpc.runtime.process.loop import Loop
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.process.questions import Questions
from rayhpc.runtime.process.waiting import Wait, Waitable
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.runtime.values.serialization import Serialized
from rayhpc.wire.address import HEAD, Address, ObjectId, owner_of
from rayhpc.wire.messages import actors, objects, tasks
from rayhpc.wire.messages.common import SchedulingClass
from rayhpc.wire.messages.start import Facts

if TYPE_CHECKING:
    import asyncio

Thing = TypeVar("Thing", bound=Waitable)


def _is_next(pending: Pending, inbox: deque[Pending]) -> bool:
    """Whether it is the first in the inbox.

    Threads append and the leader takes at any time: of those that wait together exactly one is it,
    so exactly one thread wakes the leader.  Their number would not tell: two that append at a time
    may both see two.
    """
    try:
        return inbox[0] is pending
    except IndexError:  # it has been taken already
        return False


class Known(NamedTuple):
    """What this process knows about an object.

    `size` in bytes (None: unknown); `node` whose store it is in (None: in none); `error`, pickled,
    if it failed.
    """

    is_there: bool
    size: int | None
    node: int | None
    error: bytes | None


class Client:
    """One process's way into the runtime.

    Args:
        core: its tables.
        loop: serves them.
        objects: reads and writes objects.

    Attributes:
        questions: asks the head, raylets and other processes.
        generators: what the readers of its generators do.
        groups: placement groups that somebody here waits for.
    """

    def __init__(self, core: Core, loop: Loop, objects: Objects) -> None:
        self._core = core
        self._loop = loop
        self._objects = objects
        self._futures = Futures(objects)
        core.ownership.unread.report = self._futures.unhandled.report
        self._table = core.ownership.table
        self.questions = Questions(core, loop)
        self.generators = Generators(core, loop, objects)
        self.groups = WatchedGroups(core, loop, objects)
        # Needed by every call.
        self.new_id = core.new_id
        self.new_actor_id = core.new_actor_id
        self.new_group_id = core.new_group_id
        self.is_foreign = core.ownership.is_foreign
        self.refuse_foreign = core.ownership.refuse_foreign
        self.environment = core.environment
        self.ask = self.questions.ask
        self.ask_head = self.questions.ask_head
        self.warn_once = core.warn_once

    # -- who this is -----------------------------------------------------------------------------
    @property
    def facts(self) -> Facts:
        """Who and where this process is; a worker's job changes."""
        return self._core.facts

    @property
    def job(self) -> int:
        """The number of the job of this process."""
        return self._core.facts.job

    @property
    def me(self) -> Address:
        """This process's address."""
        return self._core.me

    @property
    def is_worker(self) -> bool:
        """Whether this process runs what others submit."""
        return self._core.role.is_worker

    def actor_order(self) -> actors.Construct | None:
        """The order that made this process an actor; None: it is not an actor."""
        return self._core.role.construct()

    def title(self) -> str:
        """How this process's actor is shown; empty: by its class's name, or it is not an actor."""
        return self._core.role.title()

    def is_cancelled(self, tid: ObjectId) -> bool:
        """Whether the task or call that runs here was cancelled."""
        return self._core.role.is_cancelled(tid)

    # -- tasks -----------------------------------------------------------------------------------
    def queue_for(self, wanted: SchedulingClass) -> ClassQueue[Pending]:
        """The queue of a scheduling class."""
        return self._core.submitter.queue_for(wanted)

    def the_one(self, definition: Definition) -> Definition:
        """A function or class as tasks and actors refer to it: one object for each content."""
        return self._core.submitter.definitions.the_one(definition)

    def submit(self, pending: Pending) -> None:
        """Submit a task; its results are in the table from here on."""
        if pending.returns == 1:  # `_enter` written out, as in `call`
            self._table[pending.tid] = Entry(pending)
        else:
            self._enter(pending, can_run_again=True)
        queue = pending.queue
        inbox = self._core.submitter.inbox
        inbox.append(pending)
        gather = BATCH if queue is None else queue.gather
        # With more than one, the background thread looks within 4 ms.
        if len(inbox) >= gather or (gather == GATHER and self._loop.handover.background_waits()):
            self._loop.flush()
        elif _is_next(pending, inbox):
            self._loop.handover.wake_leader()  # as in `call`

    # -- actors ----------------------------------------------------------------------------------
    def actor(self, actor: ObjectId, handle: object) -> ActorClient[Pending]:
        """This process's view of an actor.

        Args:
            actor: its id.
            handle: shown in the error.

        Raises:
            RaySystemError: the actor belongs to a cluster that this process has left.
        """
        client = self._core.callers.client_of(actor)
        # What is watched is of this cluster.
        if not client.watched:
            self.refuse_foreign(actor, repr(handle))
        return client

    def call(self, pending: Pending, target: ActorClient[Pending]) -> None:
        """Call an actor's method; its results are in the table from here on."""
        pending.target = target
        if pending.returns == 1:
            self._table[pending.tid] = Entry(pending)
        else:
            self._enter(pending, can_run_again=pending.retries != 0)
        inbox = self._core.callers.inbox
        inbox.append(pending)
        # With so many unanswered calls the next ones may wait a moment and go together: until an
        # answer comes, until BATCH wait, or for the 4 ms after which the background looks at the
        # latest.  A message for each call would cost 10 µs at either end.
        if (
            len(target.inflight) < AHEAD
            or len(inbox) >= BATCH
            or self._loop.handover.background_waits()  # asked after appending: see there
        ):
            self._loop.flush()
        elif _is_next(pending, inbox):
            # Another thread that waits may be polling, for an answer that never comes without this
            # call.  It takes those behind the first as well.
            self._loop.handover.wake_leader()

    def calls_waiting(self, target: ActorClient[Pending]) -> int:
        """How many calls this process has made of an actor that have not been answered."""
        self._loop.flush()
        return target.calls_waiting()

    def create_actor(self, spec: actors.ActorSpec, pending: Pending) -> ObjectRef[Any] | None:
        """Create an actor; returns what keeps it alive (None: it is detached).

        Args:
            spec: the actor, without its constructor's arguments.
            pending: the constructor's arguments.
        """
        creation = self._creation(spec, pending)
        lifeline = creation.lifeline
        with self._loop.lead():
            creation.register_when_ready()
        return lifeline

    def create_named_actor(
        self, spec: actors.ActorSpec, pending: Pending, get_if_exists: bool
    ) -> tuple[ObjectRef[Any] | None, actors.ActorSpec | None]:
        """`create_actor` with a name; with `get_if_exists` an actor of that name is used instead.

        Returns:
            What keeps it alive, and the spec of the actor that existed already.

        Raises:
            ActorAlreadyExistsError: the name is taken (a ValueError).
        """
        creation = self._creation(spec, pending)
        lifeline = creation.lifeline
        token = self._core.new_token()
        with self._loop.lead():
            question = creation.request(token, get_if_exists)
        answer: actors.ActorCreated = self.questions.exchange(HEAD, question, token)
        if answer.error or answer.existing is not None:
            creation.forget()
        if answer.error:
            raise ActorAlreadyExistsError(answer.error)
        if answer.existing is not None:
            return None, answer.existing
        with self._loop.lead():
            creation.watch()
        return lifeline, None

    def kill_actor(self, actor: ObjectId, no_restart: bool) -> None:
        """End an actor's process."""
        with self._loop.lead():
            self._core.callers.kill(actor, no_restart)

    # -- objects ---------------------------------------------------------------------------------
    def put(self, packed: Serialized) -> ObjectRef[Any]:
        """Make an object from a serialized value.

        Raises:
            ObjectStoreFullError: there is no room; says what occupies it.
        """
        return self._objects.put(packed)

    def has_room(self, size: int) -> bool:
        """Whether an argument of this size may stay in this process until it is sent."""
        return self._objects.has_room(size)

    def most_argument(self) -> int:
        """The largest argument, in bytes, that travels with its task or call."""
        return self._objects.most_argument()

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """The values of `refs`, in order; `timeout` in seconds.

        Raises:
            GetTimeoutError: not all were ready in time.
            RayError: the first error among them, as soon as it is known.
        """
        return get_values(self._objects, refs, timeout)

    def wait(
        self, things: Sequence[Thing], count: int, fetch_local: bool, timeout: float | None
    ) -> tuple[list[Any], list[Any]]:
        """Wait until `count` of these are ready or the time (seconds) is up; (ready, the rest).

        Args:
            things: references and generators, each once.
            count: how many are enough.
            fetch_local: count an object only once it is on this node.
            timeout: None: for ever.
        """
        return Wait(self._objects, things, count, fetch_local).run(timeout)

    def future_of(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """A future that is completed with the value or error of `ref`."""
        return self._futures.future_of(ref)

    def awaitable_of(
        self, ref: ObjectRef[Any], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[Any]:
        """A future of an event loop, completed there with the value or error of `ref`."""
        return self._futures.awaitable_of(ref, loop)

    def when_done(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """Run `callback`, in a thread for callbacks, once the object is ready or has failed."""
        self._futures.when_done(ref, callback)

    def known(self, ref: ObjectRef[Any]) -> Known:
        """What this process knows about an object, without asking anybody.

        Raises:
            RaySystemError: it belongs to a cluster that this process has left.
        """
        entry = self._objects.entry_of(ref)
        state, value = entry.state, entry.value
        if state == ERROR:
            self._core.ownership.unread.read(ref.binary())
        size = entry.size or (len(value) if isinstance(value, bytes) else None)
        return Known(
            state != PENDING,
            size,
            value if state == STORED else None,
            value if state == ERROR else None,
        )

    def travelling_value(self, oid: ObjectId) -> tuple[bytes | None, bool, int]:
        """The small value, and whether it is an error, that goes along with a reference."""
        return self._core.ownership.travelling_value(oid)

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool) -> None:
        """Cancel the task or call that makes an object.

        Raises:
            ValueError: `force` with an actor's call.
        """
        oid = ref.binary()
        entry = self._objects.entry_of(ref)
        if force and entry.task is not None and entry.task.target is not None:
            raise ValueError(
                "force=True is not supported for actor tasks, since it would end the whole actor: "
                "cancel without force, or kill() the actor."
            )
        with self._loop.lead():
            self._core.advance()
            if self._core.ownership.is_mine(oid):
                self._core.cancel_now(oid, force, recursive)
            else:
                message = tasks.CancelOwned(oid, force, recursive)
                self._loop.transport.send(owner_of(oid), message)

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        """Drop the values of objects of this process, though references to them remain.

        Raises:
            ValueError: an object that another process owns.
        """
        with self._loop.lead():
            self._core.ownership.settle()
            for ref in refs:
                self._free(ref.binary())

    def _free(self, oid: ObjectId) -> None:
        own = self._core.ownership
        own.refuse_foreign(oid, f"Object {oid.hex()}")
        if not own.is_mine(oid):
            raise ValueError(
                f"Object {oid.hex()} belongs to another process, which alone can free it; drop the "
                "reference instead."
            )
        entry = own.table.get(oid)
        if entry is None or entry.state in (PENDING, ERROR):
            return
        if entry.state == STORED:
            self._loop.transport.send(self._core.raylet, objects.Free([oid]))
            own.supersede([oid], entry.attempt + 1)  # what is sealed late is not given to anybody
        own.resolve(oid, ERROR, failures.lost(objects.FREED, oid))

    # -- the rest --------------------------------------------------------------------------------
    def send(self, address: Address, message: msgspec.Struct) -> None:
        """Send a message, after everything submitted before."""
        self._loop.flush()
        self._loop.send(address, message)

    def answer(self, question: Any) -> list[Any]:
        """What this process would answer if another one asked."""
        return self._core.answer(question)

    def close(self, at_exit: bool = False) -> None:
        """Leave the cluster, perhaps since the interpreter exits; else whatever waits here for a
        value, in other threads or event loops, gets an error.
        """
        self._futures.leave(at_exit)
        self._core.role.close()
        self._futures.close()

    def abandon(self) -> None:
        """Leave in a child that the user's code forked: never touch the parent's sockets."""
        self._loop.abandon()

    # -- details ---------------------------------------------------------------------------------
    def _enter(self, pending: Pending, can_run_again: bool) -> None:
        """Add rows to the table for the results of a task or call."""
        if pending.returns in tasks.GENERATORS:
            window = pending.more.window if pending.more is not None else 0
            maker = pending if can_run_again else None
            pending.stream = self._core.streams.open(pending.tid, window, maker)
        for oid in pending.result_ids():
            self._table[oid] = Entry(pending)

    def _creation(self, spec: actors.ActorSpec, pending: Pending) -> ActorCreation:
        core = self._core
        return ActorCreation(core.ownership, core.callers, self._loop.transport.send, spec, pending)
