"""The sockets of a process, and the thread that may touch them.

Passed to `Process` by its creator; the simulation passes a network of its own instead.
Receives, decodes and dispatches; decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import zmq
from zmq.backend import zmq_poll

from rayhpc.machine.polling import milliseconds
from rayhpc.wire import messages
from rayhpc.wire.address import Address
from rayhpc.wire.codec import Decoder
from rayhpc.wire.handover import Handover
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.transport import Transport

logger = logging.getLogger("rayhpc")

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
        self.transport.on_socket = self._add
        self.transport.links.deliver = self._take_frame
        # Handles a message: its source, the message, the size of its frame.
        self.take: Take = _nobody
        self.handover = Handover()
        # What `zmq.Poller` would pass to the same function; its conversions cost 1 µs a call.
        self._polled: list[Any] = [(x, zmq.POLLIN) for x in self.transport.sockets]
        self._streams = self.transport.sockets[0]
        self._polled.append((self.handover.wake_fd, zmq.POLLIN))

    def poll(
        self, timeout: float | None, on_readable: Callable[[int], None]
    ) -> None:
        """Handle what has arrived; if nothing has, wait for it (leading thread).

        Args:
            timeout: the longest wait in seconds; None: until something arrives.
            on_readable: called with each watched descriptor that is readable.
        """
        ready = self.transport.ready
        if ready:  # this is a turn inside the handler of an earlier one, or that was interrupted
            timeout = 0.0
            while ready:
                self._take_frame(ready.popleft())
        for source, _ in zmq_poll(self._polled, -1 if timeout is None else milliseconds(timeout)):
            if source == self.handover.wake_fd:
                self.handover.drain()
            elif type(source) is int and source != self._streams:
                on_readable(source)
            else:
                for frame in self.transport.receive_from(source):
                    self._take_frame(frame)

    def watch(self, descriptor: int) -> None:
        """Poll a descriptor, too."""
        self._polled.append((descriptor, zmq.POLLIN))

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch` (leading thread)."""
        self._polled.remove((descriptor, zmq.POLLIN))

    def close(self) -> None:
        """Close the remaining connections."""
        self._context.destroy(linger=500)

    def _add(self, sock: zmq.Socket[bytes]) -> None:
        # First: what a process said last over a direct link is read before the news of its end.
        self._polled.insert(0, (sock, zmq.POLLIN))

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
