"""A simulated driver or worker: the runtime's own tables and handlers, without threads or sockets.

The process's code is the real one; what is simulated is the loop that serves it, and the user's
code, which are programs (`programs.py`) run as generators.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rayhpc.runtime.process import current
from rayhpc.runtime.values import references
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.store.mapping import Mapping
from rayhpc.wire import messages
from rayhpc.wire.address import Address
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.windows import Windows

from .user import Routine, UserSide
from .world import World

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
        self.running_tid = b""
        self.groups: dict[bytes, actors.GroupIs] = {}
        self._routines: list[tuple[Routine, Callable[[], bool]]] = []
        self._timer = float("inf")
        facts = Facts(address, "sim", "", "", "", job, "")
        windows = Windows(address, self._transmit, world.window)
        with self.turn():
            super().__init__(facts, Mapping(arena_fd, arena_bytes), windows, world.now)
            self.ownership.events = self.events
        world.join(address, messages.PROCESS_TAKES, self.receive)

    # -- the loop ---------------------------------------------------------------------------------
    def send(self, destination: Address, message: Any) -> None:
        """Send a message, as far as there is room."""
        self.windows.send(destination, message)

    def _transmit(self, destination: Address, frame: bytes) -> bool:
        """Send, while alive."""
        if self.alive:
            self.world.transmit(self.me, destination, frame)
        return self.alive

    @property
    def transport(self) -> SimProcess:
        """What sends, as `Process` calls it."""
        return self

    @contextmanager
    def lead(self) -> Iterator[None]:
        """The simulated process has one thread, which leads."""
        yield

    @contextmanager
    def turn(self) -> Iterator[None]:
        """References that are born or die now are this process's."""
        outer, outer_process = _here, current._process
        _be_at_home(self.events.append)
        current._process = self  # type: ignore[assignment]
        try:
            yield
        finally:
            _be_at_home(outer)
            current._process = outer_process

    def receive(self, source: Address, message: Any) -> None:
        """Handle one message and what follows from it."""
        with self.turn():
            self.take(source, message, self.world.frame_size)
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
            self.ownership.table.clear()
        self.store.close()

    def sleep(self, seconds: float) -> Callable[[], bool]:
        """A condition that holds after some time."""
        end = self.world.time + seconds
        self.world.after(seconds, self._on_timer)
        return lambda: self.world.time >= end - 1e-12
