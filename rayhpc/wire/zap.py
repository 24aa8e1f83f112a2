"""Admission over TCP: ZeroMQ's authentication protocol (ZAP), in the owner's poll loop.

Used by `listener.py`.  Over an in-process socket libzmq asks about every client that has proved it
owns the key it shows; the answer is whether that key is one of the cluster's.  Has no thread:
whoever polls `socket` calls `serve`.  Must be created before the first listener of its context.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

import zmq
from zmq.utils import z85

from rayhpc.wire.sockets import Context, has_input

logger = logging.getLogger("rayhpc")

ENDPOINT = "inproc://zeromq.zap.01"
_QUIET_S = 10.0
_VERSION = b"1.0"


class Zap:
    """The authenticator of a ZeroMQ context.

    Args:
        context: the context whose listeners it decides for.
        allowed: the client keys (Z85) that are admitted.
        now: the time in seconds; limits how often a rejection is logged.

    Attributes:
        socket: poll it for reading, then call `serve`.
        refused: how many clients have been rejected.
    """

    def __init__(
        self,
        context: Context,
        allowed: Collection[bytes],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = {z85.decode(key): key for key in allowed}
        self._now = now
        self._quiet_until = now()
        self._unsaid = 0
        self.refused = 0
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ENDPOINT)

    def admit(self, key: bytes) -> None:
        """Admit one more client key (Z85)."""
        self._allowed[z85.decode(key)] = key

    def dismiss(self, key: bytes) -> None:
        """Admit a client key no more; connections that it has opened stay."""
        self._allowed.pop(z85.decode(key), None)

    def serve(self) -> None:
        """Answer all pending questions."""
        while has_input(self.socket):
            question = self.socket.recv_multipart()
            self.socket.send_multipart(self._answer(question))

    def close(self) -> None:
        """Stop answering: then nobody is admitted."""
        self.socket.close()

    def _answer(self, question: list[bytes]) -> list[bytes]:
        number = question[1] if len(question) > 1 else b""
        if len(question) == 7 and question[0] == _VERSION and question[5] == b"CURVE":
            key = self._allowed.get(question[6])
            if key is not None:
                return [_VERSION, number, b"200", b"OK", key, b""]
        address = question[3].decode("ascii", "replace") if len(question) > 3 else "?"
        self._note_refusal(address)
        return [_VERSION, number, b"400", b"this key does not belong to the cluster", b"", b""]

    def _note_refusal(self, address: str) -> None:
        self.refused += 1
        self._unsaid += 1
        now = self._now()
        if now < self._quiet_until:
            return
        more = f" ({self._unsaid - 1} more since the last such line)" if self._unsaid > 1 else ""
        logger.warning("rejected a client at %s: not a key of this cluster%s", address, more)
        self._unsaid = 0
        self._quiet_until = now + _QUIET_S
