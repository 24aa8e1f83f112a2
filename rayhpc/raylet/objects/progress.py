"""How far an object on its way here has come: which parts are here, and which are to be asked for.

Used by `pulls`.  Pure bookkeeping.  What is under way belongs to whoever took it, until he says
that it has `arrived` or puts it `back`.

Parts may come from several sources, but only of one edition: if a part of another comes, those
that are here already are to be asked for again.
"""

from __future__ import annotations

from collections import deque


class Progress:
    """Of one object.

    Args:
        size: the object's bytes.

    Attributes:
        edition: which one is coming (0: not known).
    """

    __slots__ = ("_here", "_left", "_missing", "edition")

    def __init__(self, size: int) -> None:
        self.edition = 0
        self._left = size
        self._missing: deque[tuple[int, int]] = deque([(0, size)])
        self._here: list[tuple[int, int]] = []

    @property
    def is_whole(self) -> bool:
        """Whether everything is here."""
        return not self._left

    @property
    def has_begun(self) -> bool:
        """Whether something is here."""
        return bool(self._here)

    @property
    def wants_more(self) -> bool:
        """Whether something is to be asked for."""
        return bool(self._missing)

    def take(self, most: int) -> tuple[int, int]:
        """The next part to ask for (start, length), of at most `most` bytes."""
        start, length = self._missing.popleft()
        if length > most:
            self._missing.appendleft((start + most, length - most))
            length = most
        return start, length

    def put_back(self, start: int, length: int) -> None:
        """A part that was taken does not come: it is to be asked for again."""
        self._missing.appendleft((start, length))

    def arrived(self, start: int, length: int, edition: int) -> None:
        """A part that was taken is here."""
        if edition != self.edition:
            for part in self._here:
                self._missing.append(part)
                self._left += part[1]
            self._here.clear()
            self.edition = edition
        self._here.append((start, length))
        self._left -= length
