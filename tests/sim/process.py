"""A simulated driver or worker: the runtime's own process, on the world's clock and network.

The process's code is the real one; what is simulated is what it is handed: sockets, time, threads
(`threads.py`) and the user's code, which are programs (`programs.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rayhpc.runtime.process import current
from rayhpc.runtime.values import references
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.store.mapping import Mapping
from rayhpc.wire import codec, messages
from rayhpc.wire.address import Address, describe
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.start import Facts

from .threads import Routine, SimSockets, SimThread, drive
from .user import UserSide
from .world import World

# While no thread of a process waits, its background thread serves, so late at the most.
REST_S = 0.002
_decode = codec.Decoder(messages.PROCESS_TAKES)

# Where the death of each reference that was born in a simulated process is noted: there, whenever
# and in whoever's turn it is collected.
_homes: dict[int, Callable[[Any], None]] = {}
_here: Callable[[Any], None] | None = None
_plain_init, _plain_del = ObjectRef.__init__, ObjectRef.__del__


def _born(ref: ObjectRef[Any], binary: bytes, is_counted: bool = False) -> None:
    _plain_init(ref, binary, is_counted)
    if _here is not None:
        _homes[id(ref)] = _here


def _dies(ref: ObjectRef[Any]) -> None:
    note = _homes.pop(id(ref), None)
    if note is None:
        _plain_del(ref)
    else:
        note(ref._id)


ObjectRef.__init__ = _born  # type: ignore[method-assign]
ObjectRef.__del__ = _dies  # type: ignore[method-assign, assignment]


def _be_at_home(note: Callable[[Any], None] | None) -> None:
    """References that are born from now on are this process's (None: nobody's here)."""
    global _here
    _here = note
    references._note = references.events.append if note is None else note


class SimProcess(UserSide):
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
        self.groups: dict[bytes, actors.GroupIs] = {}
        self.threads: list[SimThread] = []
        self._unread: deque[Callable[[], None]] = deque()
        self._served_later = False
        self._timer = float("inf")
        facts = Facts(address, "sim", "", "", "", job, "")
        mapping = Mapping(arena_fd, arena_bytes)
        super().__init__(facts, mapping, SimSockets(self, address), world.now)  # type: ignore[arg-type]
        with self.turn():
            self.core.ownership.events = self.events
        world.join(address, messages.PROCESS_TAKES, self.receive)

    # -- the loop ---------------------------------------------------------------------------------
    def transmit(self, destination: Address, frame: bytes) -> bool:
        """Send, while alive."""
        if self.alive:
            self.world.transmit(self.core.me, destination, frame)
        return self.alive

    @contextmanager
    def turn(self) -> Iterator[None]:
        """References that are born or die now are this process's."""
        outer, outer_client = _here, current._client
        _be_at_home(self.events.append)
        current._client = self.client
        try:
            yield
        finally:
            _be_at_home(outer)
            current._client = outer_client

    def receive(self, source: Address, message: Any) -> None:
        """A message has come: it is read when a thread serves."""
        self._unread.append(partial(self.core.take, source, message, self.world.frame_size))
        self._serve_if_free()

    def read_later(self, action: Callable[..., None], *args: Any) -> None:
        """Something else than a message has come."""
        self.world.when_it_reads(self.core.me, lambda: self._read_when_free(action, *args))

    def _read_when_free(self, action: Callable[..., None], *args: Any) -> None:
        self._unread.append(partial(action, *args))
        self._serve_if_free()

    def deliver(self, frame: bytes) -> None:
        """Handle a frame that came over a direct link."""
        source, message = codec.source_of(frame), _decode(frame)
        self.world.note(f"{describe(source)} ⇒ {describe(self.core.me)} {message}")
        self.core.take(source, message, len(frame))

    def settle(self) -> None:
        """Do what can be done now, and be called again when something is due."""
        while self.alive:
            while self._unread:
                self._unread.popleft()()
            self.core.advance()
            if not self._let_one_go_on():
                break
            if self._is_left_alone():
                self._serve_later()
                return
        if self.alive:
            self._set_timer()

    def _is_left_alone(self) -> bool:
        """Whether user code runs and no thread waits: then the background serves, in its time."""
        busy = [thread.is_busy for thread in self.threads]
        return bool(busy) and all(busy)

    def _serve_if_free(self) -> None:
        if not self.alive:
            return
        if self._is_left_alone():
            self._serve_later()
        else:
            with self.turn():
                self.settle()

    def _serve_later(self) -> None:
        if not self._served_later:
            self._served_later = True
            self.world.after(self.world.random.uniform(0, REST_S), self._serve)

    def _serve(self) -> None:
        self._served_later = False
        if self.alive:
            with self.turn():
                self.settle()

    def _set_timer(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is not None and deadline < self._timer:
            self._timer = deadline
            self.world.at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = float("inf")
        if self.alive:
            with self.turn():
                self.core.on_time()
                self.settle()

    # -- threads ----------------------------------------------------------------------------------
    def start(self, run: Routine | Callable[[], Any]) -> SimThread:
        """Run a function, or a generator of conditions to wait for, in a thread."""
        with self.turn():
            thread = SimThread(self, run if callable(run) else lambda: drive(run))
            run = None  # type: ignore[assignment]
            self.threads.append(thread)
            self.settle()
        return thread

    def timer(self, seconds: float) -> Callable[[], bool]:
        """A condition that holds after some time."""
        end = self.world.time + seconds
        self.world.after(seconds, self._serve)
        return lambda: self.world.time >= end - 1e-12

    def _let_one_go_on(self) -> bool:
        for thread in self.threads:
            if thread.wants_to_go_on():
                try:
                    thread.go_on()
                finally:
                    if thread.has_ended:
                        self.threads.remove(thread)
                return True
        return False

    def end(self) -> None:
        """Be dead from now on."""
        if not self.alive:
            return
        self.alive = False
        self.world.leave(self.core.me)
        with self.turn():
            for thread in self.threads:
                thread.go_on()
            self.threads.clear()
            self._unread.clear()
            self.core.ownership.table.clear()
        self.core.store.close()
