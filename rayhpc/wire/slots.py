"""A worker's record for the raylet, read after the worker's death: what it had started, and what it
had finished but perhaps not sent.

One memfd per node, created by the raylet's side (`SlotTable.create`) and inherited by the workers,
each of which writes one slot of it (`Slot`).  Never locks and never waits: a worker may be killed
between any two instructions, and the reader still finds a whole id and whole results.  Pages
that are not written cost no memory.

A slot's layout, in 8-byte words unless said otherwise:

    0      which of the two ids was started last: 0 none, 1, 2
    1      bytes of the journal that are valid
    2 … 5  id 1 (28 bytes)          6 … 9  id 2
    80 …   (bytes) the journal: records of length (8 bytes), content, padding to 8 bytes

An id is written to the place that is not current, then word 0 makes it current; a record is
written, then word 1 covers it.  Each of these words is stored by a single instruction.
"""

from __future__ import annotations

import mmap
import os
import sys

from rayhpc.wire.address import OBJECT_ID_BYTES

SLOT_BYTES = 256 * 1024  # a multiple of every page size; two of the largest inline results
_JOURNAL = 80
_IDS = {1: 16, 2: 48}
_WHICH, _USED = 0, 1


class Slot:
    """One worker's slot, for writing.

    Args:
        fd: the table's descriptor; it may be closed afterwards.
        index: which slot.
    """

    def __init__(self, fd: int, index: int) -> None:
        self._map = mmap.mmap(fd, SLOT_BYTES, offset=index * SLOT_BYTES)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self._second = False
        self._end = _JOURNAL

    def note_start(self, tid: bytes) -> None:
        """Record that the task with this id starts now."""
        if self._second:  # inlined, because every task runs it: 90 ns
            self._second = False
            self._bytes[48:76] = tid
            self._words[0] = 2
        else:
            self._second = True
            self._bytes[16:44] = tid
            self._words[0] = 1

    def journal_append(self, result: bytes) -> bool:
        """Append an encoded result; False if it does not fit (then none of it is stored)."""
        start = self._end + 8
        end = start + len(result)
        if end > SLOT_BYTES:
            return False
        self._bytes[start:end] = result
        words = self._words
        words[start // 8 - 1] = len(result)
        self._end = end = (end + 7) & ~7
        words[_USED] = end - _JOURNAL
        return True

    def journal_clear(self) -> None:
        """Drop the results: they have been sent."""
        self._words[_USED] = 0
        self._end = _JOURNAL

    def close(self) -> None:
        """Unmap the slot."""
        self._words.release()
        self._bytes.release()
        self._map.close()


class SlotTable:
    """All slots of a node, for reading.

    Args:
        fd: the memfd; this object owns it from now on.
        count: the number of slots.

    Attributes:
        fd: the descriptor that workers inherit.
        count: the number of slots.
    """

    def __init__(self, fd: int, count: int) -> None:
        self.fd = fd
        self.count = count
        self._map = mmap.mmap(fd, count * SLOT_BYTES)

    @classmethod
    def create(cls, count: int) -> SlotTable:
        """Create a table of `count` empty slots."""
        fd = os.memfd_create("rayhpc-slots", os.MFD_CLOEXEC)
        os.ftruncate(fd, count * SLOT_BYTES)
        return cls(fd, count)

    def read(self, index: int) -> tuple[bytes, list[bytes]]:
        """The task a dead worker had started last (empty: none), and its journal's results."""
        base = index * SLOT_BYTES
        place = _IDS.get(self._word(base, _WHICH))
        started = b""
        if place is not None:
            at = base + place
            started = self._map[at : at + OBJECT_ID_BYTES]
        return started, self._results(base + _JOURNAL, self._word(base, _USED))

    def clear(self, index: int) -> None:
        """Empty a slot before another worker gets it; its memory is freed."""
        base = index * SLOT_BYTES
        self._map[base : base + _JOURNAL] = bytes(_JOURNAL)
        self._map.madvise(mmap.MADV_REMOVE, base, SLOT_BYTES)

    def close(self) -> None:
        """Unmap and close the table."""
        self._map.close()
        os.close(self.fd)

    def _word(self, base: int, number: int) -> int:
        at = base + 8 * number
        return int.from_bytes(self._map[at : at + 8], sys.byteorder)

    def _results(self, at: int, used: int) -> list[bytes]:
        found: list[bytes] = []
        end = at + min(used, SLOT_BYTES - _JOURNAL)
        while at < end:
            length = int.from_bytes(self._map[at : at + 8], sys.byteorder)
            at += 8
            if length > end - at:  # overwritten by user code: what follows cannot be trusted
                break
            found.append(self._map[at : at + length])
            at += (length + 7) & ~7
        return found
