"""Connections between the drivers and workers of one node: stream sockets, one for each pair.

Used by `transport`, from the thread that leads.  Never waits, never looks into a message.  What has
been written stays readable when its sender dies; the end of a connection says nothing else, since a
child that user code forked may keep it open.

Why not ZeroMQ, as elsewhere: its own thread at either end makes three thread switches of one
message, where this makes one.  A round trip of two small messages takes half the time and CPU
(`tests/bench/round_trips.py`).

A frame is preceded by its length in four bytes.  The first one names the process that dialled.
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

logger = logging.getLogger("rayhpc")

_LENGTH_BYTES = 4
_READ_BYTES = 64 * 1024
_READ_MOST = 1024 * 1024
# A batch, where the system allows that much: what the kernel has not taken waits for our next turn.
_BUFFER_BYTES = 1024 * 1024
# How many descriptors of others may be ready together with ours.
_OTHERS = 100
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class _Stream:
    """One connection.

    `begun` are the parts of the first frame that is not complete, `have` their bytes, `needed` how
    many it takes at least; `unsent` waits until the kernel takes more.
    """

    __slots__ = ("begun", "fd", "have", "needed", "peer", "sock", "unsent")

    def __init__(self, sock: socket.socket, peer: Address | None) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.begun: list[bytes] = []
        self.have = self.needed = 0
        self.unsent: deque[memoryview] = deque()


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
        self._epoll.register(self._listens, _IN)
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
        data = len(frame).to_bytes(_LENGTH_BYTES, "big") + frame
        if stream.unsent:
            stream.unsent.append(memoryview(data))
            return True
        try:
            sent = stream.sock.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose(stream)
            return False
        if sent < len(data):
            stream.unsent.append(memoryview(data)[sent:])
            self._epoll.modify(stream.fd, _IN | _OUT)
        return True

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
        stream = _Stream(sock, peer)
        self._epoll.register(stream.fd, _IN)
        self._streams[stream.fd] = stream
        return stream

    def _send_rest(self, stream: _Stream) -> None:
        """Write what waits, as far as the kernel takes it."""
        unsent = stream.unsent
        try:
            while unsent:
                first = unsent[0]
                sent = stream.sock.send(first, socket.MSG_NOSIGNAL)
                if sent < len(first):
                    unsent[0] = first[sent:]
                    return
                unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._lose(stream)
            return
        self._epoll.modify(stream.fd, _IN)

    def _lose(self, stream: _Stream) -> None:
        """Its peer reads no more; what it had sent can still be read."""
        stream.unsent.clear()
        self._epoll.modify(stream.fd, _IN)
        if stream.peer is not None and self._routes.get(stream.peer) is stream:
            del self._routes[stream.peer]

    # -- receiving ---------------------------------------------------------------------------------
    def read(self) -> None:
        """Read everything that has arrived."""
        self.listen_again()
        for fd, events in self._epoll.poll(0, len(self._streams) + _OTHERS):
            self.serve(fd, events)

    def serve(self, fd: int, events: int) -> bool:
        """Do what one of our descriptors is ready for; False: it is another's."""
        stream = self._streams.get(fd)
        if stream is None:
            if fd != self._listens:
                return False
            self._accept()
            return True
        if events & _OUT:
            self._send_rest(stream)
        if events & ~_OUT:
            self._read_from(stream)
        return True

    def listen_again(self) -> None:
        """Try again to take connections, if there was no descriptor for them."""
        if self.is_full:
            self.is_full = False
            self._epoll.register(self._listens, _IN)

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
        while True:
            wanted = _READ_BYTES
            if stream.begun:
                wanted = min(max(wanted, stream.needed - stream.have), _READ_MOST)
            try:
                data = stream.sock.recv(wanted)
            except BlockingIOError:
                return
            except ConnectionError:  # it closed without having read everything
                data = b""
            if not data or not self._split(stream, data):
                self._end(stream)
                return
            if len(data) < wanted:
                return

    def _split(self, stream: _Stream, data: bytes) -> bool:
        """Cut what has been read into frames; False: these are none."""
        if stream.begun:
            stream.begun.append(data)
            stream.have += len(data)
            if stream.have < stream.needed:
                return True
            data = b"".join(stream.begun)
            stream.begun = []
        ready = self._ready
        start, end = 0, len(data)
        needed = _LENGTH_BYTES
        while end - start >= _LENGTH_BYTES:
            size = int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
            if not HEADER_BYTES <= size <= sockets.MAX_FRAME_BYTES:
                return False
            stop = start + _LENGTH_BYTES + size
            if stop > end:
                needed = stop - start
                break
            ready.append(data[start + _LENGTH_BYTES : stop])
            if stream.peer is None:
                self._name(stream, source_of(ready[-1]))
            start = stop
        if start < end:
            stream.begun = [data[start:]]
            stream.have, stream.needed = end - start, needed
        return True

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
        # Closing alone would not do where a forked child has it, too.
        self._epoll.unregister(stream.fd)
        stream.sock.close()

    def close(self, linger_s: float) -> None:
        """Close everything; what was sent may still go out for so many seconds."""
        deadline = time.monotonic() + linger_s
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        for stream in self._streams.values():
            with contextlib.suppress(OSError):
                for part in stream.unsent:
                    stream.sock.settimeout(max(0.001, deadline - time.monotonic()))
                    stream.sock.sendall(part, socket.MSG_NOSIGNAL)
            stream.sock.close()


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
