"""Rank 0's way to the ApplicationMaster for more nodes, or fewer.

Made by `link`.  Used by `launch.resizing`, which drains what is to leave, and by the provider
`yarn`, which asks for single ranks; they are in different threads, so one more thread reads the
socket and sorts what comes.
"""

from __future__ import annotations

import itertools
import queue
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

from rayhpc.batch.yarn import talk

T = TypeVar("T")

_MOST_BYTES = 1 << 16
# The ApplicationMaster may be waiting for the ResourceManager meanwhile.
_ANSWER_S = 10.0


class YarnResizer:
    """Implements `system.Resizer`.  Raises EOFError once the ApplicationMaster is gone: so are we.

    Args:
        master: rank 0's socket to it.
    """

    def __init__(self, master: socket.socket) -> None:
        self._master = master
        self._leaving: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[talk.Ranks | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._reader = threading.Thread(target=self._read, name="hearing-master", daemon=True)
        self._start = threading.Lock()

    # -- the whole job's size
    def want(self, nodes: int) -> None:
        """Tell the ApplicationMaster."""
        self._tell(talk.Want(nodes))

    def leaving(self, timeout_s: float) -> int | None:
        """Wait for a message from the ApplicationMaster."""
        return self._next(self._leaving, timeout_s)

    def left(self, rank: int) -> None:
        """Tell the ApplicationMaster."""
        self._tell(talk.Drained(rank))

    # -- single ranks
    def add(
        self, rank: int, labels: Mapping[str, str], options: Sequence[str] | None = None
    ) -> None:
        """Have a rank with this number; again does no harm.

        Args:
            rank: its number.
            labels: its node's.
            options: of its `rayhpc run`; None: those of the job.
        """
        self._tell(talk.AddRank(rank, dict(labels), None if options is None else [*options]))

    def remove(self, rank: int, *, if_pending: bool = False) -> None:
        """Have an added rank drained and its container given back, or its ask withdrawn."""
        self._tell(talk.RemoveRank(rank, if_pending))

    def added(self) -> list[talk.AddedRank]:
        """How the added ranks stand.

        Raises:
            EOFError: the ApplicationMaster is gone.
            TimeoutError: it does not answer, as when it waits for the ResourceManager.
        """
        found: list[talk.AddedRank] = []
        while True:
            number = next(self._numbers)
            self._tell(talk.LookAtRanks(number, found[-1].rank if found else 0))
            rows = self._answer(number)
            found += rows
            if len(rows) < talk.MOST_ROWS:
                return found

    def _answer(self, number: int) -> list[talk.AddedRank]:
        deadline = time.monotonic() + _ANSWER_S
        while (left := deadline - time.monotonic()) > 0:
            answer = self._next(self._answers, left)
            if answer is not None and answer.number == number:
                return answer.rows
        raise TimeoutError(f"the ApplicationMaster has not answered within {_ANSWER_S:g} s")

    # -- the socket
    def _next(self, source: queue.SimpleQueue[T | None], timeout_s: float) -> T | None:
        """The next of them; None: none in time."""
        with self._start:
            if self._reader.ident is None:
                self._reader.start()
        try:
            found = source.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if found is None:
            source.put(None)  # for whoever asks next
            raise EOFError("the ApplicationMaster is gone")
        return found

    def _read(self) -> None:
        while packet := self._receive():
            match talk.from_master(packet):
                case talk.Drain(rank):
                    self._leaving.put(rank)
                case talk.Ranks() as answer:
                    self._answers.put(answer)
        self._leaving.put(None)
        self._answers.put(None)

    def _receive(self) -> bytes:
        try:
            return self._master.recv(_MOST_BYTES)
        except OSError:
            return b""

    def _tell(self, message: talk.FromRankZero) -> None:
        try:
            self._master.send(talk.encode(message))
        except OSError:
            raise EOFError("the ApplicationMaster is gone") from None
