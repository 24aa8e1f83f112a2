"""The raylet's side of the fork server: starts it, requests workers, hears of their deaths.

`start` is called by the node process before it has a thread or a ZeroMQ context.  The server's own
side is in `forkserver_loop.py`.  Never forks anything itself after `start`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from rayhpc.machine.processes import reap_child
from rayhpc.raylet import forkserver_messages as messages
from rayhpc.raylet.objects.spill import SHARED_FILES

ENTRY = "rayhpc.runtime.worker.main:main"
# The numbers of the shared descriptors in every worker: above anything opened at start.
_FIRST_SHARED = 64
# The arena, the slots, and files that are spilled to.
_SHARED = 2 + SHARED_FILES
_BUFFER_BYTES = 1 << 20


class Channel:
    """The raylet's end of a socket pair to the server or a template; never blocks.

    Args:
        end: the connected SOCK_SEQPACKET socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.is_closed = False
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def fileno(self) -> int:
        """The descriptor to poll; -1 once closed."""
        return self.socket.fileno()

    def send(self, command: msgspec.Struct, descriptors: list[int] | None = None) -> None:
        """Send a command; `descriptors` are closed here once they have been sent."""
        self._waiting.append((messages.encode(command), descriptors or []))
        self.flush()

    def flush(self) -> bool:
        """Send what is queued; True if something still is (then poll for writing)."""
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                if descriptors:
                    socket.send_fds(self.socket, [data], descriptors)
                else:
                    self.socket.send(data)
            except BlockingIOError:
                return True
            except OSError:
                pass  # the server is gone: `events` will report it
            self._waiting.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        return False

    def events(self) -> Iterator[messages.Event]:
        """What the server has sent; afterwards `is_closed` says whether it is gone."""
        while not self.is_closed:
            try:
                data = self.socket.recv(messages.PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.is_closed = True
                return
            yield messages.decode_event(data)

    def close(self) -> None:
        """Close this end: the server ends its workers and exits."""
        self.is_closed = True
        self.socket.close()
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self._waiting.clear()


class ForkServer(Channel):
    """The node's fork server.

    `shared` are the numbers under which workers find the descriptors given to `share`.
    """

    def __init__(self, end: socket.socket, pid: int, shared: list[int]) -> None:
        super().__init__(end)
        self.pid = pid
        self.shared = shared

    def share(self, descriptors: Sequence[int]) -> None:
        """Give every worker these descriptors (the arena's, the slots', files'), as `shared`."""
        copies = [fcntl.fcntl(x, fcntl.F_DUPFD_CLOEXEC, 3) for x in descriptors]
        self.shared = self.shared[: len(copies)]
        self.send(messages.Share(self.shared), copies)

    def finish(self, timeout: float) -> bool:
        """Have every worker ended and the server exit; the session's directory stays."""
        self.send(messages.Finish())
        self.close()
        return self.wait_for_end(timeout)

    def wait_for_end(self, timeout: float) -> bool:
        """Reap the server after `close`; False: it did not end in time and was killed."""
        if reap_child(self.pid, timeout):
            return True
        os.kill(self.pid, signal.SIGKILL)
        reap_child(self.pid, timeout)
        return False


def start(session_dir: str, entry: str = ENTRY, present: int = -1) -> ForkServer:
    """Fork the server for a session.

    Args:
        session_dir: the session's directory, which the server removes when the raylet is gone.
        entry: module:function that each worker runs with its number and arguments.
        present: a descriptor that the server, but none of its children, keeps open until it ends.
    """
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    shared = _free_numbers()
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            mine.close()
            from rayhpc.raylet import forkserver_loop

            forkserver_loop.run(its, session_dir, entry, me, present)
            code = 0
        finally:
            os._exit(code)
    its.close()
    for number in shared:
        os.close(number)
    return ForkServer(mine, pid, shared)


def _free_numbers() -> list[int]:
    """Descriptor numbers that are free here, and so in the fork; occupied until closed."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    try:
        # Each is the first free one, so they ascend.
        return [fcntl.fcntl(nowhere, fcntl.F_DUPFD_CLOEXEC, _FIRST_SHARED) for _ in range(_SHARED)]
    finally:
        os.close(nowhere)
