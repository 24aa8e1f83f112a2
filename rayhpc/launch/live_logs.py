"""The nodes' logs, read a piece at a time through their raylets.

Used by `rayhpc top` and `rayhpc dashboard`.  Every line has the name of its node; a line that is
cut by the end of a piece comes with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rayhpc.exit_codes import LaunchError
from rayhpc.launch.observer import Observer
from rayhpc.observe.views.naming import names_of
from rayhpc.wire.address import Address, raylet_of
from rayhpc.wire.messages.looking import LogPiece, ReadLog

# Of each node: what is read at first, and the most that is read in one look.
FIRST_BYTES = 16 * 1024
PIECE_BYTES = 128 * 1024
# How far back a search goes in each node's log.
SEARCH_BYTES = 8 * 1024 * 1024
_ANSWER_S = 3.0


class LogLine(NamedTuple):
    """One line of a node's log."""

    node: str
    text: str


class LiveLogs:
    """The logs of all nodes, from their ends on.

    Args:
        observer: attached to the cluster.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._read: dict[Address, int] = {}
        self._rest: dict[Address, bytes] = {}

    def news(self) -> list[LogLine]:
        """The lines since the last time, node by node.  Raises LaunchError at the cluster's end."""
        names = self._names()
        found = self._observer.ask_each(names, self._question, list[LogPiece], _ANSWER_S)
        lines: list[LogLine] = []
        for whom, pieces in found.items():
            for piece in pieces:
                lines += [LogLine(names[whom], x) for x in self._lines(whom, piece)]
        return lines

    def search(self, wanted: str, most: int) -> list[LogLine]:
        """The latest lines in which a text is, in capitals or not, at most so many of each node.

        Raises:
            LaunchError: the cluster has ended.
        """
        found: list[LogLine] = []
        for whom, name in self._names().items():
            own: list[LogLine] = []
            for text in self._backwards(whom):
                if wanted.lower() in text.lower():
                    own.append(LogLine(name, text))
                if len(own) >= most:
                    break
            found += reversed(own)
        return found

    def _names(self) -> dict[Address, str]:
        nodes = self._observer.nodes()
        names = names_of(nodes)
        return {raylet_of(x.info.number): names[x.info.number] for x in nodes if x.alive}

    def _question(self, whom: Address) -> ReadLog:
        if whom in self._read:
            return ReadLog(self._read[whom], PIECE_BYTES)
        return ReadLog(-1, FIRST_BYTES)

    def _lines(self, whom: Address, piece: LogPiece) -> list[str]:
        at = self._read.get(whom)
        if at is not None and piece.end < at:  # a new file has been begun
            self._read[whom] = 0
            return []
        data = self._rest.pop(whom, b"") + piece.data
        if at is None and piece.start:
            data = data.partition(b"\n")[2]
        self._read[whom] = piece.start + len(piece.data)
        *whole, rest = data.split(b"\n")
        if rest:
            self._rest[whom] = rest
        return [_text(x) for x in whole]

    def _backwards(self, whom: Address) -> Iterator[str]:
        """A node's lines, the latest first."""
        end, rest, read = -1, b"", 0
        while read < SEARCH_BYTES:
            size = PIECE_BYTES if end < 0 else min(PIECE_BYTES, end)
            start = -1 if end < 0 else end - size
            try:
                (piece,) = self._observer.ask(ReadLog(start, size), list[LogPiece], whom)
            except LaunchError:
                return
            rest, *whole = (piece.data + rest).split(b"\n")
            yield from (_text(x) for x in reversed(whole) if x)
            read += size
            end = piece.start
            if end <= 0:
                break
        if rest:
            yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace")
