"""The sockets of a process, and the thread that may touch them.

Passed to `Process` by its creator; the simulation passes a network of its own instead.
Receives, decodes and dispatches; decides nothing.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from rayhpc.machine.polling import LONGEST_S
from rayhpc.wire import messages
from rayhpc.wire.address import Address
from rayhpc.wire.codec import Decoder
from rayhpc.wire.handover import Handover
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.sockets import has_input
from rayhpc.wire.transport import Transport

logger = logging.getLogger("rayhpc")

# A process out of descriptors looks this often whether it can take connections that wait.
RETRY_S = 0.1

Take = Callable[[Address, Any, int], None]

# Created when the module is loaded, so that workers find it in pages they share with the fork
# server: 1.5 MiB and 4 ms each.
_decode = Decoder(messages.PROCESS_TAKES)


class Sockets:
    """What one process sends and receives with.

    Args:
        facts: who and where the process is.

    Attributes:
        transport: sends.
        handover: who may send, receive, and touch the process's tables.
    """

    def __init__(self, facts: Facts) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.transport = Transport(
            self._context,
            facts.address,
            facts.session_dir,
            facts.bind,
            facts.ports,
            ipc_key=facts.ipc_key,
        )
        self.transport.links.deliver = self._take_frame
        # Handles a message: its source, the message, the size of its frame.
        self.take: Take = _nobody
        self.handover = Handover()
        self._wake_fd = self.handover.wake_fd
        # Not `zmq_poll`, which asks each socket twice and the system once more for every round:
        # 5 µs for each that seldom has anything to say.
        self._epoll = self.transport.epoll
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        # ZeroMQ's own, which say that its sockets have to be asked.
        self._descriptors: set[Any] = {x.getsockopt(zmq.FD) for x in self.transport.zeromq}
        self._watched: set[int] = set()
        for descriptor in self._descriptors:
            self.watch(descriptor)

    def poll(self, timeout: float | None, on_readable: Callable[[int], None]) -> None:
        """Handle what has arrived; if nothing has, wait for it (leading thread).

        Args:
            timeout: the longest wait in seconds; None: until something arrives.
            on_readable: called with each watched descriptor that is readable.
        """
        transport = self.transport
        ready = transport.ready
        # This may be a turn inside the handler of an earlier one.  A socket's descriptor tells only
        # what is new since the socket was used, for sending, too: then it is asked first.
        if (ready or transport.touched) and (self._take_ready() or self._read_sockets()):
            timeout = 0.0
        is_full = transport.is_full()
        if is_full:
            timeout = RETRY_S if timeout is None else min(timeout, RETRY_S)
        others = []
        for fd, events in self._epoll.poll(None if timeout is None else min(timeout, LONGEST_S)):
            if transport.serve(fd, events):
                continue
            if fd == self._wake_fd:
                self.handover.drain()
            elif fd in self._descriptors:
                transport.touched = True
            else:
                others.append(fd)
        if is_full:
            transport.listen_again()
        while ready:
            self._take_frame(ready.popleft())
        if others or transport.touched:
            self._read_sockets()
        # Last: what the raylet said is handled before the end of its connection.
        for fd in others:
            # Else it was closed after this batch of events had been read.
            if fd in self._watched:
                on_readable(fd)

    def watch(self, descriptor: int) -> None:
        """Poll a descriptor, too."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._watched.add(descriptor)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch` (leading thread)."""
        self._watched.discard(descriptor)
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Close the remaining connections."""
        self._context.destroy(linger=500)

    def _take_ready(self) -> bool:
        """Handle what has been read; whether there was anything."""
        ready = self.transport.ready
        found = bool(ready)
        while ready:
            self._take_frame(ready.popleft())
        return found

    def _read_sockets(self) -> bool:
        """Handle what has arrived at ZeroMQ's sockets; whether anything has."""
        transport = self.transport
        transport.touched = False
        found = False
        for sock in transport.zeromq:
            if has_input(sock):
                found = True
                for frame in transport.receive_from(sock):
                    self._take_frame(frame)
        return found

    def _take_frame(self, frame: bytes) -> None:
        try:
            message = _decode(frame)
        except msgspec.DecodeError as error:
            logger.warning("rejected a malformed message: %s", error)
            return
        try:
            self.take(int.from_bytes(frame[8:16], "big"), message, len(frame))
        except Exception:
            # The error affects only this message, never those behind it.
            logger.exception("error while handling a message (%s)", type(message).__name__)


def _nobody(source: Address, message: Any, size: int) -> None:
    """Take nothing: no process has been made of the sockets yet."""
