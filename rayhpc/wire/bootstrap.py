"""How a driver (or an observer) joins the node it runs on: one connection over a Unix socket.

`attach` is called by `runtime.driver` and the CLI; `AttachServer` runs in the raylet's poll loop.
The peer is identified by its uid, which the kernel reports, and only the session's own user is
admitted, so the exchange needs no key.  Where others have that uid, too, both sides ask for the
peer's session of the kernel (`machine.shared_uid`), and a peer from another one is told so unheard.
The server never waits for a peer and never unpickles.

On the wire: a length (4 bytes, big endian), then a msgpack map; once in each direction.  File
descriptors come with the first byte of the reply.  After that the connection is silent; when it
closes, the peer has ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import time
from array import array
from collections import deque
from typing import Any

import msgspec

from rayhpc.exceptions import RaySystemError
from rayhpc.machine.shared_uid import is_admitted
from rayhpc.wire.sockets import check_ipc_path

logger = logging.getLogger("rayhpc")

# The role of whoever wants nothing but the head started again.
RESUME = "resume"
HELLO_MAX = 16 * 1024 * 1024
_STRANGERS_MAX = 64  # connections that have not sent a hello yet
_FDS_MAX = 8
# What a process hears that has our uid, but is none of ours.
OUTSIDE = (
    "Other users' processes have this user's uid here (as on YARN without LinuxContainerExecutor), "
    "so this cluster lets in only what its own program starts: run the command from the program "
    "(subprocess.run), or have the site run containers as their users."
)
_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")


class AttachError(RaySystemError):
    """Joining a node failed; the text says why and what to do."""


class Connection:
    """An attached process, as the raylet sees it.

    Attributes:
        pid: its process id, as reported by the kernel.
        hello: its first message.
    """

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock = sock
        self.pid = pid
        self.hello: dict[str, Any] | None = None
        self._received = bytearray()

    def read(self) -> bool:
        """Read what has arrived; False: the peer has ended, or sent garbage."""
        try:
            while data := self.sock.recv(65536):
                if self.hello is not None:
                    return False
                self._received += data
                self._parse()
        except (BlockingIOError, InterruptedError):
            return True
        except (OSError, msgspec.DecodeError, ValueError):
            return False
        return False

    def _parse(self) -> None:
        received = self._received
        if len(received) < _LENGTH.size:
            return
        end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
        if end > HELLO_MAX or len(received) > end:
            raise ValueError("not a hello")
        if len(received) == end:
            self.hello = _decode(received)
            self._received = bytearray()


class AttachServer:
    """The raylet's end of all attach connections.

    Args:
        path: where to listen, in the session's directory.
        session: the only session of the kernel's that is admitted; None: all.

    Attributes:
        fd: poll it for reading, then call `accept` and `ended`.
    """

    def __init__(self, path: str, session: int | None = None) -> None:
        check_ipc_path(path)
        self._session = session
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(128)
        # One descriptor to poll covers the listener and every connection.
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self.fd = self._epoll.fileno()
        self._strangers: dict[int, Connection] = {}
        self._attached: dict[int, Connection] = {}
        self._arrived: deque[Connection] = deque()
        self._gone: deque[Connection] = deque()

    def accept(self) -> list[Connection]:
        """The connections that have sent a hello since the last call; each expects a `reply`."""
        self._look()
        found = list(self._arrived)
        self._arrived.clear()
        return found

    def ended(self) -> list[Connection]:
        """The connections from `accept` whose peer has ended; call it after `accept`.

        It does not read on its own: anything read here would no longer trigger the poll.
        """
        found = list(self._gone)
        self._gone.clear()
        return found

    def reply(self, connection: Connection, reply: dict[str, Any], fds: list[int]) -> bool:
        """Answer a hello, with descriptors; False: the peer is gone (`ended` will report it).

        A refusal is {"error": sentence} and no descriptors; close the connection afterwards.
        """
        message = _framed(reply)
        sock = connection.sock
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(message) + 65536)
            return socket.send_fds(sock, [message], fds) == len(message)
        except OSError as error:
            logger.info("process %d ended while attaching: %s", connection.pid, error)
            return False

    def close_connection(self, connection: Connection) -> None:
        """Close one connection; `ended` will not report it."""
        number = connection.sock.fileno()
        for known in (self._attached, self._strangers):
            if number in known:
                del known[number]
                self._epoll.unregister(number)
        connection.sock.close()

    def close(self) -> None:
        """Close all connections and stop listening."""
        for connection in [*self._strangers.values(), *self._attached.values()]:
            connection.sock.close()
        self._strangers.clear()
        self._attached.clear()
        self._epoll.close()
        self._listener.close()

    def _look(self) -> None:
        for number, _ in self._epoll.poll(0):
            if number == self._listener.fileno():
                self._take_new()
                continue
            connection = self._strangers.get(number) or self._attached.get(number)
            if connection is not None:
                self._read(number, connection)

    def _take_new(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            pid, uid = peer_of(sock)
            if uid != os.geteuid():
                logger.warning("rejected process %d of user %d: not this session's user", pid, uid)
                sock.close()
                continue
            if not is_admitted(pid, self._session):
                logger.warning("rejected process %d: it belongs to another container", pid)
                with contextlib.suppress(OSError):
                    sock.send(_framed({"error": OUTSIDE}))
                sock.close()
                continue
            if len(self._strangers) >= _STRANGERS_MAX:
                self.close_connection(next(iter(self._strangers.values())))
            self._strangers[sock.fileno()] = Connection(sock, pid)
            self._epoll.register(sock, select.EPOLLIN)

    def _read(self, number: int, connection: Connection) -> None:
        alive = connection.read()
        if connection.hello is not None and number in self._strangers:
            self._attached[number] = self._strangers.pop(number)
            self._arrived.append(connection)
        if not alive:
            was_attached = number in self._attached
            self.close_connection(connection)
            if was_attached:
                self._gone.append(connection)


def attach(
    path: str, hello: dict[str, Any], timeout_s: float, session: int | None = None
) -> tuple[dict[str, Any], list[int], socket.socket]:
    """Join the node whose raylet listens on `path`.

    Args:
        path: the session's `raylet.sock`.
        hello: the message to send.
        timeout_s: the limit for all of it, in seconds.
        session: the kernel's session in which the raylet has to be; None: any.

    Returns:
        The reply, the descriptors that came with it (close-on-exec), and the connection, which
        must stay open for as long as this process is part of the cluster.

    Raises:
        AttachError: nobody is there, it belongs to another user, it refuses, or does not answer.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fds: list[int] = []
    try:
        deadline = time.monotonic() + timeout_s
        sock.settimeout(timeout_s)
        sock.connect(path)
        pid, uid = peer_of(sock)
        if uid != os.geteuid() or not is_admitted(pid, session):
            raise AttachError(f"The session at {path} is not yours.")
        # A raylet that does not listen may have said why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(_framed(hello))
        reply = _receive_reply(sock, fds, deadline)
        if "error" in reply:
            raise AttachError(str(reply["error"]))
        sock.settimeout(None)
        return reply, fds, sock
    except BaseException as error:
        sock.close()
        for fd in fds:
            os.close(fd)
        if isinstance(error, OSError):
            raise AttachError(_explain(path, error, timeout_s)) from error
        raise


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """The process id and user id of the peer of a Unix socket."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def _receive_reply(sock: socket.socket, fds: list[int], deadline: float) -> dict[str, Any]:
    received = bytearray()
    wanted = _LENGTH.size
    while len(received) < wanted:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        data = _receive_some(sock, fds)
        if not data:
            raise ConnectionResetError("it closed the connection")
        received += data
        if len(received) >= _LENGTH.size:
            wanted = _LENGTH.size + _LENGTH.unpack_from(received)[0]
            if wanted > HELLO_MAX:
                raise AttachError("What answers there is not a raylet: its reply has no end.")
    try:
        return _decode(received[:wanted])
    except msgspec.DecodeError:
        raise AttachError("What answers there is not a raylet: its reply is unreadable.") from None


def _receive_some(sock: socket.socket, fds: list[int]) -> bytes:
    # Not `socket.recv_fds`: it ignores its flags, and with them close-on-exec.
    space = socket.CMSG_LEN(_FDS_MAX * array("i").itemsize)
    data, messages, _, _ = sock.recvmsg(65536, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found = array("i")
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
            fds.extend(found)
    return data


def _framed(message: dict[str, Any]) -> bytes:
    data = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(data)) + data


def _decode(received: bytearray) -> dict[str, Any]:
    return msgspec.msgpack.decode(memoryview(received)[_LENGTH.size :], type=dict[str, Any])


def _explain(path: str, error: OSError, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"The raylet at {path} has not answered within {timeout_s:g} s; its log says why."
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return (
            f"No rayhpc session is running at {path}: it has ended. "
            "`rayhpc status` lists the sessions on this node."
        )
    return f"The raylet at {path} cannot be reached: {error}."
