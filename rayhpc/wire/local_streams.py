"""Connections between the drivers and workers of one node: stream sockets, one for each pair.

Used by `transport`, from the thread that leads.  Never waits, never looks into a message.  What has
been written stays readable when its sender dies; the end of a connection says nothing else, since a
child that user code forked may keep it open.

Why not ZeroMQ, as elsewhere: its own thread at either end makes three thread switches of one
message, where this makes one.  A round trip of two small messages takes half the time and CPU
(`tests/bench/round_trips.py`).

The first frame names the process that dialled.
Sockets are in a directory, and have a mode, that let only this user connect; its uid is checked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable

from rayhpc.wire import sockets
from rayhpc.wire.address import Address
from rayhpc.wire.bootstrap import peer_of
from rayhpc.wire.codec import HEADER_BYTES, source_of
from rayhpc.wire.streams import IN, LENGTH_BYTES, OUT, Stream

logger = logging.getLogger("rayhpc")

# A batch, where the system allows that much: what the kernel has not taken waits for our next turn.
_BUFFER_BYTES = 1024 * 1024


class _Stream(Stream):
    """One connection, and who is at its other end (None: it has not said so yet)."""

    __slots__ = ("peer",)

    def __init__(self, sock: socket.socket, epoll: select.epoll, peer: Address | None) -> None:
        super().__init__(sock, epoll, (HEADER_BYTES, sockets.MAX_FRAME_BYTES))
        self.peer = peer


class LocalStreams:
    """All connections of one process to others on its node.

    Args:
        me: this process's address.
        path_of: where a process listens.
        relay: sends a frame through the raylet: to a process that cannot be dialled now.
        ready: gets the frames that have been read.
        epoll: where our descriptors are registered; others may be in it, too.

    Attributes:
        is_full: no connection can be taken, for want of descriptors, until `listen_again`.
    """

    def __init__(
        self,
        me: Address,
        path_of: Callable[[Address], str],
        relay: Callable[[Address, bytes], bool],
        ready: deque[bytes],
        epoll: select.epoll,
    ) -> None:
        self._path = path_of(me)
        self._path_of = path_of
        self._relay = relay
        self._ready = ready
        self._epoll = epoll
        self._listener = _listen(self._path)
        self._listens = self._listener.fileno()
        self._epoll.register(self._listens, IN)
        self._streams: dict[int, _Stream] = {}
        # What each process is sent over; fixed, so that messages to it stay in order.
        self._routes: dict[Address, _Stream] = {}
        self._relayed: set[Address] = set()
        # The second connection to a process, if both have dialled at the same time.
        self._seconds: dict[Address, _Stream] = {}
        self.is_full = False

    # -- sending -----------------------------------------------------------------------------------
    def send(self, peer: Address, frame: bytes) -> bool:
        """Send a frame; False: nobody listens there."""
        stream = self._routes.get(peer)
        if stream is None:
            if peer not in self._relayed:
                stream = self._dial(peer)
            if stream is None:
                return peer in self._relayed and self._relay(peer, frame)
        if stream.write(len(frame).to_bytes(LENGTH_BYTES, "big") + frame):
            return True
        self._lose(stream)
        return False

    def _dial(self, peer: Address) -> _Stream | None:
        """Connect to a process; None: nobody listens there, or it is reached through the raylet."""
        sock = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.connect(self._path_of(peer))
            stream = self._routes[peer] = self._add(sock, peer)
        except (FileNotFoundError, ConnectionRefusedError):
            stream = None
        except OSError:
            # Its queue of connections is full, since it is busy, or we are out of descriptors.
            self._relayed.add(peer)
            stream = None
        if stream is None and sock is not None:
            sock.close()
        return stream

    def _add(self, sock: socket.socket, peer: Address | None) -> _Stream:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        stream = _Stream(sock, self._epoll, peer)
        self._streams[stream.fd] = stream
        return stream

    def _lose(self, stream: _Stream) -> None:
        """Its peer reads no more; what it had sent can still be read."""
        stream.drop_unsent()
        if stream.peer is not None and self._routes.get(stream.peer) is stream:
            del self._routes[stream.peer]

    # -- receiving ---------------------------------------------------------------------------------
    def descriptors(self) -> int:
        """How many of ours are in the epoll."""
        return len(self._streams) + 1

    def serve(self, fd: int, events: int) -> bool:
        """Do what one of our descriptors is ready for; False: it is another's."""
        stream = self._streams.get(fd)
        if stream is None:
            if fd != self._listens:
                return False
            self._accept()
            return True
        if events & OUT and not stream.write_rest():
            self._lose(stream)
        if events & ~OUT:
            self._read_from(stream)
        return True

    def listen_again(self) -> None:
        """Try again to take connections, if there was no descriptor for them."""
        if self.is_full:
            self.is_full = False
            self._epoll.register(self._listens, IN)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # it has gone again
                continue
            except OSError as error:
                # It waits in the kernel, with what it has sent, until `listen_again`.
                logger.warning("cannot take another connection of this node: %s", error)
                self.is_full = True
                self._epoll.unregister(self._listens)
                return
            if peer_of(sock)[1] != os.geteuid():
                sock.close()
                continue
            sock.setblocking(False)
            # It may have ended already, and what it said comes before the news of that.
            self._read_from(self._add(sock, None))

    def _read_from(self, stream: _Stream) -> None:
        ready = self._ready
        before = len(ready)
        is_open = stream.read(ready)
        if stream.peer is None and len(ready) > before:
            self._name(stream, source_of(ready[before]))
        if not is_open:
            self._end(stream)

    def _name(self, stream: _Stream, peer: Address) -> None:
        """Learn who has dialled; answers go the same way."""
        stream.peer = peer
        if peer in self._routes:
            self._seconds[peer] = stream
        elif peer not in self._relayed:
            self._routes[peer] = stream

    # -- the end -----------------------------------------------------------------------------------
    def forget(self, peer: Address) -> None:
        """A process has ended, and what it sent has been read."""
        self._relayed.discard(peer)
        for known in (self._routes, self._seconds):
            stream = known.get(peer)
            if stream is not None:
                self._end(stream)

    def _end(self, stream: _Stream) -> None:
        for known in (self._routes, self._seconds):
            if stream.peer is not None and known.get(stream.peer) is stream:
                del known[stream.peer]
        del self._streams[stream.fd]
        stream.close()

    def close(self, linger_s: float) -> None:
        """Close everything; what was sent may still go out for so many seconds."""
        deadline = time.monotonic() + linger_s
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        for stream in self._streams.values():
            stream.flush(deadline)


def _listen(path: str) -> socket.socket:
    sockets.check_ipc_path(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(path)
        # A user's umask may make it less private than its directory.
        os.chmod(path, 0o600)
        listener.listen(sockets.BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
