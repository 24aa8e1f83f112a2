"""Allocates blocks within a range of bytes: the arena's memory, or a spill file.

Used by the raylet's object manager.  Bookkeeping only: touches no memory and no file.

The range is allocated from its start; `edge` is where the never-used part begins, so real memory is
needed only below it.  Freed blocks are merged with free neighbours.  A freed block remembers its
writer, and the same writer gets it back first: its pages are already mapped there, which makes a
copy into it about five times as fast.
"""

from __future__ import annotations

from rayhpc.store.bins import GRAIN, SizeBins


class Allocator:
    """Allocates and frees blocks of a range.

    Args:
        capacity: bytes in the range; may be changed, but not to less than `edge`.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.edge = 0
        self.used = 0
        self._taken: dict[int, tuple[int, int]] = {}
        self._free: dict[int, tuple[int, int]] = {}
        self._free_ends: dict[int, int] = {}
        self._bins: SizeBins[int] = SizeBins()
        self._own_bins: dict[int, SizeBins[int]] = {}

    def allocate(self, size: int, writer: int = 0) -> int | None:
        """The offset (a multiple of 64) of `size` free bytes, or None if no gap is large enough.

        Args:
            size: bytes, at least 1.
            writer: the process that will write there.
        """
        size = -(-size // GRAIN) * GRAIN
        own = self._own_bins.get(writer)
        offset = own.at_least(size) if own is not None else None
        if offset is None:
            offset = self._bins.at_least(size)
        if offset is None:
            offset = self._extend(size)
            if offset is None:
                return None
        else:
            length, tag = self._take_out(offset)
            if length > size:
                self._put_in(offset + size, length - size, tag)
        self._taken[offset] = (size, writer)
        self.used += size
        return offset

    def free(self, offset: int) -> None:
        """Free a block.

        Raises:
            KeyError: there is no such block.
        """
        size, writer = self._taken.pop(offset)
        self.used -= size
        largest = size
        end = offset + size
        if end in self._free:
            length, tag = self._take_out(end)
            end += length
            if length > largest:
                largest, writer = length, tag
        before = self._free_ends.get(offset)
        if before is not None:
            length, tag = self._take_out(before)
            offset = before
            if length > largest:
                writer = tag
        self._put_in(offset, end - offset, writer)

    def size_of(self, offset: int) -> int:
        """The size of an allocated block, in bytes."""
        return self._taken[offset][0]

    def retract(self, limit: int) -> None:
        """Reduce the capacity to `limit`: nothing is allocated beyond it (it must be free)."""
        start = self._free_ends.get(self.edge)
        if start is not None and self.edge > limit:
            _, writer = self._take_out(start)
            self.edge = max(start, limit)
            if start < limit:
                self._put_in(start, limit - start, writer)
        self.capacity = max(limit, self.edge)

    def _extend(self, size: int) -> int | None:
        start = self._free_ends.get(self.edge, self.edge)
        if start + size > self.capacity:
            return None
        if start < self.edge:
            self._take_out(start)
        self.edge = start + size
        return start

    def _put_in(self, offset: int, size: int, writer: int) -> None:
        self._free[offset] = (size, writer)
        self._free_ends[offset + size] = offset
        self._bins.add(offset, size)
        own = self._own_bins.get(writer)
        if own is None:
            own = self._own_bins[writer] = SizeBins()
        own.add(offset, size)

    def _take_out(self, offset: int) -> tuple[int, int]:
        size, writer = self._free.pop(offset)
        del self._free_ends[offset + size]
        self._bins.discard(offset, size)
        own = self._own_bins[writer]
        own.discard(offset, size)
        if not own:
            del self._own_bins[writer]
        return size, writer
