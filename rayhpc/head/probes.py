"""Whether anything listens where a raylet did: what tells a raylet's end from a broken connection.

Used by `main` for the nodes that have lost their connections.  A probe is a TCP connection that is
closed as soon as it is there, to each of the raylet's addresses, again and again until the node has
come back or is dead.  If the machine refuses it, the raylet's process has ended.  No answer proves
nothing.  Never sends or reads a byte, never waits, and decides about no node.
"""

from __future__ import annotations

import errno
import math
import select
import socket
from collections.abc import Callable, Mapping
from itertools import islice

from rayhpc.wire.address import NodeNumber
from rayhpc.wire.messages.common import NodeInfo

# Between two rounds of one node.
AGAIN_S = 0.05
# An address that answers later does not count: others of the same raylet may be unreachable.
ANSWER_S = 0.3
# So many nodes are asked about at a time; others have their turn when one of them is decided.
MOST = 64

_REFUSED = errno.ECONNREFUSED


class _Round:
    """One attempt at all addresses of a raylet.

    Attributes:
        sockets: those that have not answered, by their descriptors.
        is_there: something has accepted a connection.
        is_refused: one of the addresses has refused one.
    """

    def __init__(self, info: NodeInfo, by: float) -> None:
        self.by = by
        self.is_there = False
        self.is_refused = False
        self.sockets: dict[int, socket.socket] = {}
        for ip, port in info.endpoints:
            self._connect(ip, port)

    def _connect(self, ip: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # out of descriptors
            return
        try:
            code = sock.connect_ex((ip, port))
        except OSError:
            code = errno.EINVAL
        if code == errno.EINPROGRESS:
            self.sockets[sock.fileno()] = sock
            return
        self._note(code)
        sock.close()

    def answered(self, descriptor: int) -> None:
        """An address has answered."""
        sock = self.sockets.pop(descriptor)
        self._note(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        sock.close()

    def _note(self, code: int) -> None:
        self.is_there = self.is_there or code == 0
        self.is_refused = self.is_refused or code == _REFUSED

    def is_over(self, now: float) -> bool:
        """Whether nothing more is to come."""
        return self.is_there or not self.sockets or now >= self.by

    def close(self) -> None:
        """Ask no more."""
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()


class Probes:
    """All nodes that are asked about.

    Args:
        now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._epoll = select.epoll()
        self._rounds: dict[NodeNumber, _Round] = {}
        # Decided for now: when the next round of each is due.
        self._again: dict[NodeNumber, float] = {}
        self._node_of: dict[int, NodeNumber] = {}

    def fileno(self) -> int:
        """Poll it for reading, then call `ended`."""
        return self._epoll.fileno()

    def ended(self, wanted: Mapping[NodeNumber, NodeInfo]) -> list[NodeNumber]:
        """Go on asking; those of the wanted nodes whose raylets have ended, by what has come.

        Args:
            wanted: what is to be found out now; others are no longer asked about.
        """
        if not wanted and not self._rounds and not self._again:
            return []
        for number in [x for x in (*self._rounds, *self._again) if x not in wanted]:
            self._drop(number)
        self._start(wanted)
        self._read()
        now = self._now()
        found = []
        for number, round_ in list(self._rounds.items()):
            if round_.is_over(now):
                self._drop(number)
                self._again[number] = now + AGAIN_S
                if round_.is_refused and not round_.is_there:
                    found.append(number)
        return found

    def _start(self, wanted: Mapping[NodeNumber, NodeInfo]) -> None:
        now = self._now()
        due = (x for x in wanted if x not in self._rounds and self._again.get(x, now) <= now)
        for number in list(islice(due, MOST - len(self._rounds))):
            self._again.pop(number, None)
            made = self._rounds[number] = _Round(wanted[number], now + ANSWER_S)
            for descriptor in made.sockets:
                self._node_of[descriptor] = number
                self._epoll.register(descriptor, select.EPOLLOUT)

    def _read(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            self._epoll.unregister(descriptor)
            self._rounds[self._node_of.pop(descriptor)].answered(descriptor)

    def _drop(self, number: NodeNumber) -> None:
        self._again.pop(number, None)
        round_ = self._rounds.pop(number, None)
        if round_ is None:
            return
        for descriptor in round_.sockets:
            self._epoll.unregister(descriptor)
            del self._node_of[descriptor]
        round_.close()

    def deadline(self) -> float:
        """When `ended` must be called at the latest; infinity: there is nobody to ask about."""
        times = [x.by for x in self._rounds.values()]
        if len(times) < MOST:
            times += self._again.values()
        return min(times, default=math.inf)

    def close(self) -> None:
        """Ask about nobody any more."""
        for number in list(self._rounds):
            self._drop(number)
        self._epoll.close()
