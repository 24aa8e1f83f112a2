"""Progress of one transfer: which parts of the object are here, and which are still to request.

Used by `pulls`.  Pure bookkeeping.  A part under way belongs to whoever took it, until it has
`arrived` or is `put_back`.

Parts may come from several sources, but only of one edition: if a part of another arrives, those
that are here already are requested again.
"""

from __future__ import annotations

from collections import deque


class Progress:
    """The progress of one object.

    Args:
        size: the object's bytes.

    Attributes:
        edition: the edition being received (0: not known).
    """

    __slots__ = ("_here", "_left", "_missing", "edition")

    def __init__(self, size: int) -> None:
        self.edition = 0
        self._left = size
        self._missing: deque[tuple[int, int]] = deque([(0, size)])
        self._here: list[tuple[int, int]] = []

    @property
    def is_whole(self) -> bool:
        """Whether the object is complete."""
        return not self._left

    @property
    def has_begun(self) -> bool:
        """Whether any part is here."""
        return bool(self._here)

    @property
    def wants_more(self) -> bool:
        """Whether any part is still to be requested."""
        return bool(self._missing)

    def take(self, most: int) -> tuple[int, int]:
        """Take the next part to request (start, length), at most `most` bytes."""
        start, length = self._missing.popleft()
        if length > most:
            self._missing.appendleft((start + most, length - most))
            length = most
        return start, length

    def put_back(self, start: int, length: int) -> None:
        """A part that was taken does not arrive: request it again."""
        self._missing.appendleft((start, length))

    def arrived(self, start: int, length: int, edition: int) -> None:
        """A part that was taken has arrived."""
        if edition != self.edition:
            for part in self._here:
                self._missing.append(part)
                self._left += part[1]
            self._here.clear()
            self.edition = edition
        self._here.append((start, length))
        self._left -= length
