"""One connection over a stream socket that never waits: frames written whole, and cut again from
what is read.

Used by `local_streams` (within a node) and `sealed_streams` (between nodes), from the thread that
leads.  Never looks into a frame, and does not say what the end of a connection means.

A frame is preceded by its length in four bytes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from typing import Any

LENGTH_BYTES = 4
_READ_BYTES = 64 * 1024
_READ_MOST = 1024 * 1024
IN, OUT = select.EPOLLIN, select.EPOLLOUT


class Stream:
    """One connection.

    Args:
        sock: a socket that does not block.
        epoll: where its descriptor is registered until `close`.
        sizes: how long a frame is at least, and at most.

    Attributes:
        begun: the parts of the first frame that is not complete, `have` their bytes, `needed` how
            many it takes at least.
        unsent: waits until the kernel takes more.
    """

    __slots__ = ("_epoll", "begun", "fd", "have", "needed", "sizes", "sock", "unsent")

    def __init__(self, sock: socket.socket, epoll: select.epoll, sizes: tuple[int, int]) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.sizes = sizes
        self.begun: list[bytes | memoryview] = []
        self.have = self.needed = 0
        self.unsent: deque[memoryview] = deque()
        self._epoll = epoll
        epoll.register(self.fd, IN)

    # -- sending -----------------------------------------------------------------------------------
    def write(self, data: bytes | bytearray) -> bool:
        """Write a frame with its length; False: the peer reads no more."""
        if self.unsent:
            self.unsent.append(memoryview(data))
            return True
        try:
            sent = self.sock.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent < len(data):
            self.unsent.append(memoryview(data)[sent:])
            self._epoll.modify(self.fd, IN | OUT)
        return True

    def write_rest(self) -> bool:
        """Write what waits, as far as the kernel takes it; False: the peer reads no more."""
        unsent = self.unsent
        try:
            while unsent:
                first = unsent[0]
                sent = self.sock.send(first, socket.MSG_NOSIGNAL)
                if sent < len(first):
                    unsent[0] = first[sent:]
                    return True
                unsent.popleft()
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._epoll.modify(self.fd, IN)
        return True

    def drop_unsent(self) -> None:
        """Nothing more can be written."""
        self.unsent.clear()
        self._epoll.modify(self.fd, IN)

    # -- receiving ---------------------------------------------------------------------------------
    def read(self, into: Any, as_views: bool = False) -> bool:
        """Read what has arrived.

        Args:
            into: a list or deque that gets the frames.
            as_views: give `memoryview`s: for who copies them anyway.

        Returns:
            False: the connection has ended, or what came are no frames.
        """
        while True:
            wanted = _READ_BYTES
            if self.begun:
                wanted = min(max(wanted, self.needed - self.have), _READ_MOST)
            try:
                data = self.sock.recv(wanted)
            except BlockingIOError:
                return True
            except OSError:  # it closed without having read everything, or is silent
                return False
            if not data or not self._split(data, into, as_views):
                return False
            if len(data) < wanted:
                return True

    def _split(self, data: bytes, into: Any, as_views: bool) -> bool:
        """Cut what has been read into frames; False: these are none."""
        if self.begun:
            self.begun.append(data)
            self.have += len(data)
            if self.have < self.needed:
                return True
            data = b"".join(self.begun)
            self.begun = []
        whole: bytes | memoryview = memoryview(data) if as_views else data
        least, most = self.sizes
        start, end = 0, len(data)
        needed = LENGTH_BYTES
        while end - start >= LENGTH_BYTES:
            size = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
            if not least <= size <= most:
                return False
            stop = start + LENGTH_BYTES + size
            if stop > end:
                needed = stop - start
                break
            into.append(whole[start + LENGTH_BYTES : stop])
            start = stop
        if start < end:
            self.begun = [whole[start:]]
            self.have, self.needed = end - start, needed
        return True

    # -- the end -----------------------------------------------------------------------------------
    def close(self) -> None:
        """Close it."""
        # Closing alone would not do where a forked child has it, too.
        self._epoll.unregister(self.fd)
        self.sock.close()

    def flush(self, deadline: float) -> None:
        """Write what waits, until this time of the monotonic clock, and close it.

        The epoll may be closed already.
        """
        with contextlib.suppress(OSError):
            for part in self.unsent:
                self.sock.settimeout(max(0.001, deadline - time.monotonic()))
                self.sock.sendall(part, socket.MSG_NOSIGNAL)
        self.sock.close()
