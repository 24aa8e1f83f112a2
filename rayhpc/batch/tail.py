"""Follows files that another machine writes.

Used by `follow` and `rayhpc logs`.  A file that does not exist yet is no error; one that was
restarted (a requeued job without append) is read from its start.
"""

from __future__ import annotations

import os
from pathlib import Path

_BYTES = 1 << 20


class Tail:
    """What has been written to one file since the last read."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._descriptor: int | None = None

    def read(self) -> bytes:
        """New bytes, at most 1 MiB; empty if there are none or no file yet."""
        if self._descriptor is None and not self._open():
            return b""
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size < self._offset:
            self._offset = 0
        found = os.pread(self._descriptor, _BYTES, self._offset)
        self._offset += len(found)
        return found

    @property
    def exists(self) -> bool:
        """Whether the file has been seen."""
        return self._descriptor is not None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> bool:
        # The listing comes first: NFS caches for a while that a name was missing.
        try:
            if self.path.name not in os.listdir(self.path.parent):
                return False
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True


def last_lines(path: Path, number: int) -> bytes:
    """The end of a file, at most `number` lines; empty if it does not exist."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _BYTES))
            return b"".join(file.read().splitlines(keepends=True)[-number:])
    except OSError:
        return b""
