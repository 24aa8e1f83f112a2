"""A simulated driver or worker: the runtime's own tables and handlers, without threads or sockets.

The party's code is the real one; what is simulated is the loop that serves it, and the user's
code, which are programs (`programs.py`) run as generators.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from rayhpc.runtime import current, execution, getting, references, serialization
from rayhpc.runtime.entries import PENDING, STORED, Entry
from rayhpc.runtime.party import Party
from rayhpc.runtime.pending import Pending
from rayhpc.runtime.references import ObjectRef
from rayhpc.runtime.store_client import Box
from rayhpc.store import layout
from rayhpc.store.mapping import Mapping
from rayhpc.wire import messages
from rayhpc.wire.address import Address, node_of
from rayhpc.wire.messages import objects
from rayhpc.wire.messages.common import SchedulingClass, Stored
from rayhpc.wire.messages.start import Facts

from .world import World

ONE_CPU = {"CPU": 10_000}
Routine = Generator[Callable[[], bool], None, Any]


def _note_in(note: Callable[[Any], None]) -> None:
    """Have references note their births and deaths there."""
    references._note = note
    ObjectRef.__del__.__defaults__ = (note,)  # type: ignore[attr-defined]


class SimProcess(Party):
    """One process of the simulated cluster.

    Args:
        world: its clock and network.
        address: its address.
        arena_fd: the store's memory of its node.
        arena_bytes: how large that is.
        job: its job.
    """

    def __init__(
        self, world: World, address: Address, arena_fd: int, arena_bytes: int, job: int
    ) -> None:
        self.world = world
        self.events: deque[Any] = deque()
        self.alive = True
        self._routines: list[tuple[Routine, Callable[[], bool]]] = []
        self._timer = float("inf")
        facts = Facts(address, "sim", "", "", "", job, "")
        with self.turn():
            super().__init__(facts, Mapping(arena_fd, arena_bytes), self.send, world.now)
            self.ownership.events = self.events
        world.join(address, messages.PROCESS_TAKES, self.receive)

    # -- the loop ---------------------------------------------------------------------------------
    def send(self, destination: Address, message: Any) -> None:
        """Send, while alive."""
        if self.alive:
            self.world.send(self.me, destination, message)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """References that are born or die now are this process's."""
        outer, outer_process = references._note, current._process
        _note_in(self.events.append)
        current._process = self  # type: ignore[assignment]
        try:
            yield
        finally:
            _note_in(outer)
            current._process = outer_process

    def receive(self, source: Address, message: Any) -> None:
        """Handle one message and what follows from it."""
        with self.turn():
            self.handlers[type(message)](source, message)
            message = None
            self.settle()

    def settle(self) -> None:
        """Do what can be done now, and be called again when something is due."""
        if not self.alive:
            return
        self.advance()
        while self._step():
            self.advance()
        deadline = self.next_deadline()
        if deadline is not None and deadline < self._timer:
            self._timer = deadline
            self.world.at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = float("inf")
        if self.alive:
            with self.turn():
                self.on_time()
                self.settle()

    def start(self, routine: Routine) -> None:
        """Run a routine: a generator of conditions to wait for."""
        with self.turn():
            self._advance_routine(routine)
            self.settle()

    def _advance_routine(self, routine: Routine) -> None:
        try:
            condition = next(routine)
        except StopIteration:
            return
        self._routines.append((routine, condition))

    def _step(self) -> bool:
        for item in self._routines:
            if item[1]():
                self._routines.remove(item)
                self._advance_routine(item[0])
                return True
        return False

    def end(self) -> None:
        """Be dead from now on."""
        if not self.alive:
            return
        self.alive = False
        self.world.leave(self.me)
        with self.turn():
            self._routines.clear()
        self.store.close()

    def sleep(self, seconds: float) -> Callable[[], bool]:
        """A condition that holds after some time."""
        end = self.world.time + seconds
        self.world.after(seconds, self._on_timer)
        return lambda: self.world.time >= end - 1e-12

    # -- what the user's code does -------------------------------------------------------------------
    def submit(self, name: str, *args: Any, retries: int = 3, returns: int = 1) -> ObjectRef[Any]:
        """`f.remote(*args)`, as `api.remote_function` does it."""
        definition = name.encode()
        pending = Pending(self.new_id(), b"", definition, returns, retries, name)
        pending.queue = self.submitter.queue_for(SchedulingClass(ONE_CPU, job=self.facts.job))
        self.submitter.definitions[definition] = definition
        payload, deps = execution.pack_arguments(args, {})
        packed = serialization.serialize(payload)
        pending.args = serialization.to_inline(packed)
        pending.deps = deps or None
        pending.keep = packed.refs + deps or None
        pending.submitted = time.time()
        self.ownership.table[pending.tid] = Entry(pending)
        self.submitter.inbox.append(pending)
        return ObjectRef(pending.tid)

    def put(self, value: Any) -> Routine:
        """A routine that makes an object of ours."""
        packed = serialization.serialize(value)
        oid = self.new_id()
        entry = Entry()
        entry.inner = packed.refs or None
        if packed.nbytes <= getting.INLINE_BYTES:
            self.ownership.table[oid] = entry
            self.ownership.resolve(oid, 1, serialization.to_inline(packed), inner=entry.inner)
        else:
            where = yield from self.store_value(oid, packed)
            self.ownership.table[oid] = entry
            self.ownership.resolve(oid, STORED, where.node, where.size, entry.inner)
        return ObjectRef(oid)

    def store_value(self, oid: bytes, packed: serialization.Serialized) -> Generator[Any, None, Stored]:
        """Write a value to the node's store."""
        size = layout.size_needed(packed.pickled, packed.buffers)
        self.store.create(oid, size)
        yield lambda: self.store.created(oid) is not None
        answer = self.store.created(oid)
        assert answer is not None
        if answer.offset < 0:
            self.store.place_refused(oid)
            raise MemoryError(answer.error)
        layout.write_into(self.store.place(oid, size), packed.pickled, packed.buffers)
        self.store.seal(oid, size)
        return Stored(size, node_of(self.me))

    def values(self, refs: list[ObjectRef[Any]]) -> Generator[Any, None, list[Any]]:
        """A routine for `get`: the values, or the first error raised."""
        found = []
        for ref in refs:
            found.append((yield from self._value(ref)))
        return found

    def _value(self, ref: ObjectRef[Any]) -> Generator[Any, None, Any]:
        oid = ref.binary()
        while True:
            if oid not in self.ownership.table:
                self.ownership.settle()
            entry = self.ownership.table[oid]
            if entry.state == PENDING and self.ownership.is_mine(oid):
                yield lambda e=entry: e.state != PENDING
                continue
            if entry.state == 1:
                return serialization.from_inline(entry.value)
            if entry.state == 3:
                raise getting.load_error(entry.value)
            view = self.store.view(oid)
            if view is None:
                box = Box()
                self.store.fetch([oid], [box])
                yield lambda b=box: b.value is not None
                view = box.value
            if isinstance(view, objects.FetchFailed):
                continue
            return getting.read_value(view)
