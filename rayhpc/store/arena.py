"""The memory of one node's object store: a memfd that all its processes map.

Created by the raylet, which passes the descriptor to workers (inherited) and drivers (SCM_RIGHTS).
Has no name that others could open, is not limited by the size of /dev/shm, and the kernel frees
it when the last process that maps it ends.  Which object is where is up to `allocator`.
"""

from __future__ import annotations

import fcntl
import mmap
import os

from rayhpc.store import kernel

# Not in every Python's fcntl: F_ADD_SEALS; and the seals against sealing, shrinking, growing.
_F_ADD_SEALS = 1033
_SEALS = 0x1 | 0x2 | 0x4


class Arena:
    """A shared-memory file of fixed size; only `commit`ted parts take memory.

    Args:
        fd: the descriptor (this object owns it from now on).
        size: bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._memory: mmap.mmap | None = None
        self._address = 0

    @classmethod
    def create(cls, size: int) -> Arena:
        """Create an arena of `size` bytes (rounded up to whole pages).

        Raises:
            ValueError: the size is not positive.
            OSError: the kernel refused, e.g. too many open files.
        """
        if size <= 0:
            raise ValueError(f"an object store needs a positive size, not {size} bytes")
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        fd = os.memfd_create("rayhpc-store", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            # Sealed: no process of the node can truncate it and so crash its readers.
            fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, size)

    def view(self, offset: int, size: int) -> memoryview:
        """A writable view (for the raylet itself: transfers and spilling)."""
        return memoryview(self._map())[offset : offset + size]

    def commit(self, offset: int, size: int) -> bool:
        """Back a range with real memory; False if the machine or its cgroup has none left.

        Otherwise a write could kill the writer with SIGBUS.  Any thread may call it.
        """
        return kernel.reserve(self.fd, offset, size)

    def populate(self, offset: int, size: int) -> bool:
        """Have the kernel clear a committed range's pages now; False if unsupported."""
        memory = self._map()
        return bool(memory) and kernel.populate(self._address, offset, size)

    def close(self) -> None:
        """Release the descriptor and the mapping; other processes' mappings remain."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._memory is not None:
            try:
                self._memory.close()
            except BufferError:
                pass  # a view is still in use; the mapping goes with it
            self._memory = None

    def _map(self) -> mmap.mmap:
        if self._memory is None:
            self._memory = mmap.mmap(self.fd, self.size)
            self._memory.madvise(mmap.MADV_DONTFORK)
            self._memory.madvise(mmap.MADV_DONTDUMP)
            self._address = kernel.address_of(self._memory)
        return self._memory
