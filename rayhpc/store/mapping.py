"""A driver's or worker's mappings of its node's object store: one for reading, one for writing.

Used by `runtime.store_client`.  Knows offsets, not objects; does not decide who may use what.

The reading mapping is read-only: a stray write through a view crashes at its own line instead of
corrupting a result, and numpy refuses to create writable arrays on it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from rayhpc.store import kernel

# From this size on, memory this process has not written yet is populated by a second thread just
# ahead of the copy: first touch alone halves the speed of a copy, or worse.
_POPULATE_FROM = 16 * 2**20
_STEP = 8 * 2**20


class Mapping:
    """The object store as mapped by this process.

    Args:
        fd: the arena's descriptor (the caller keeps ownership).
        size: the arena's bytes.
        files: descriptors of further files, ours from now on, named by their index where a path is
            expected.

    Raises:
        OSError, ValueError: it cannot be mapped.
    """

    def __init__(self, fd: int, size: int, files: Sequence[int] = ()) -> None:
        self.size = size
        self._files = files
        self._read = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        self._write = mmap.mmap(fd, size)
        for memory in (self._read, self._write):
            memory.madvise(mmap.MADV_DONTDUMP)
        self._read_address = kernel.address_of(self._read)
        self._write_address = kernel.address_of(self._write)
        # One byte per step of the arena: whether this process has written all of it.
        self._touched = bytearray(-(-size // _STEP))

    def writable(self, offset: int, size: int) -> memoryview:
        """The space in which to write an object (allocated by the raylet)."""
        if size >= _POPULATE_FROM:
            self._populate_ahead(offset, size)
        return memoryview(self._write)[offset : offset + size]

    def let_go(self, offset: int, size: int) -> None:
        """Stop counting a written space as this process's memory.

        Its contents stay in the store; touching it again costs as much as the first time.
        """
        first = offset // mmap.PAGESIZE * mmap.PAGESIZE
        self._write.madvise(mmap.MADV_DONTNEED, first, offset + size - first)

    def export(self, offset: int, size: int, unpinned: deque[bytes], oid: bytes) -> Any:
        """A handle for one reader of an object, for `layout.parse`.

        Anything made from it (memoryviews, arrays on them) keeps it alive; when it is collected,
        its finalizer appends `oid` to `unpinned`.  A memoryview or PickleBuffer would not do:
        numpy drops those and keeps only the underlying object.
        """
        return _exporter(self._read, self._read_address, offset, size, unpinned, oid)

    def writable_file(self, path: str, offset: int, size: int) -> memoryview:
        """A space outside the arena, in a file of the raylet's.

        Raises:
            OSError: it cannot be mapped.
        """
        memory, start = self._map_file(path, offset, size, writable=True)
        return memoryview(memory)[start : start + size]

    def export_file(
        self, path: str, offset: int, size: int, unpinned: deque[bytes], oid: bytes
    ) -> Any:
        """Like `export`, for an object in a file of the raylet's.

        Raises:
            OSError: it cannot be mapped.
        """
        memory, start = self._map_file(path, offset, size, writable=False)
        return _exporter(memory, kernel.address_of(memory), start, size, unpinned, oid)

    def close(self) -> None:
        """Release the mappings; views that are still alive keep their memory mapped."""
        del self._read, self._write
        for descriptor in self._files:
            os.close(descriptor)
        self._files = ()

    def _map_file(
        self, path: str, offset: int, size: int, *, writable: bool
    ) -> tuple[mmap.mmap, int]:
        """A mapping of a part of a file, and the offset of that part within it."""
        first = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        fd = os.dup(self._files[int(path)]) if path.isdigit() else os.open(path, flags)
        try:
            prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            memory = mmap.mmap(fd, offset - first + size, prot=prot, offset=first)
        finally:
            os.close(fd)
        memory.madvise(mmap.MADV_DONTDUMP)
        return memory, offset - first

    def _populate_ahead(self, offset: int, size: int) -> None:
        steps = range(offset // _STEP, (offset + size - 1) // _STEP + 1)
        cold = [step for step in steps if not self._touched[step]]
        if len(cold) < 2:
            return
        for step in cold:
            self._touched[step] = 1
        # The mapping is passed along, so that the memory stays mapped while the thread works.
        thread = threading.Thread(
            target=self._populate,
            args=(self._write, cold, offset, offset + size),
            name="rayhpc-populate",
            daemon=True,
        )
        thread.start()

    def _populate(self, _: mmap.mmap, steps: list[int], start: int, end: int) -> None:
        for step in steps:
            first, last = max(start, step * _STEP), min(end, (step + 1) * _STEP)
            if not kernel.populate(self._write_address, first, last - first):
                return


def _exporter(
    memory: mmap.mmap, address: int, offset: int, size: int, unpinned: deque[bytes], oid: bytes
) -> Any:
    numpy = sys.modules.get("numpy")
    exporter: Any
    if numpy is not None and hasattr(numpy, "frombuffer"):
        exporter = numpy.frombuffer(memory, numpy.uint8, size, offset)
    else:
        exporter = (ctypes.c_ubyte * size).from_address(address + offset)
        exporter.memory = memory  # keeps it mapped
    weakref.finalize(exporter, unpinned.append, oid).atexit = False
    return exporter
