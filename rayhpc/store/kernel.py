"""Memory operations missing in Python: addresses, madvise, hole punching.

Used by `arena`, `mapping` and the raylet's spill files.  Keeps no state; knows nothing of objects.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

_MADV_POPULATE_WRITE = 23  # Linux 5.14
_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


_fallocate = getattr(_libc, "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def address_of(memory: mmap.mmap) -> int:
    """The start address of a mapping (ctypes' own functions require it to be writable)."""
    buffer = (ctypes.c_void_p * 16)()  # a Py_buffer, whose first field is the address
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(memory), buffer, 0)
    address = buffer[0]
    ctypes.pythonapi.PyBuffer_Release(buffer)
    assert address is not None
    return address


def populate(address: int, offset: int, size: int) -> bool:
    """Make the pages of a writable mapping present; False if unsupported (before Linux 5.14).

    Takes about a second per 0.5 to 6 GB; releases the GIL.
    """
    start = (address + offset) // mmap.PAGESIZE * mmap.PAGESIZE
    length = address + offset + size - start
    return bool(_libc.madvise(start, length, _MADV_POPULATE_WRITE) == 0)


def punch_hole(fd: int, offset: int, size: int) -> bool:
    """Give a range of a file back to its file system; False if that is unsupported."""
    if _fallocate is None:
        return False
    return bool(_fallocate(fd, _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE, offset, size) == 0)


def reserve(fd: int, offset: int, size: int) -> bool:
    """Allocate memory or disk blocks for a range of a file; False if none are left.

    Raises:
        OSError: any other reason.
    """
    try:
        os.posix_fallocate(fd, offset, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EFBIG):
            return False
        raise
    return True
