"""Objects on disk: one unnamed file per spill directory, in which objects are allocated.

Used by `reclaim`, `table` and `pulls`.  Unnamed files need no cleaning up: the kernel frees them
however the raylet ends; this node's processes map them through the raylet's descriptor.  The
functions at the end do the slow work and belong in a background thread; the rest is bookkeeping in
the raylet's own thread.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from collections.abc import Sequence

from rayhpc.raylet.objects.context import StoreContext
from rayhpc.store import kernel
from rayhpc.store.allocator import Allocator

logger = logging.getLogger("rayhpc")

# Objects are read back, and checked, in pieces of this size (that of a chunk between nodes).
PIECE = 2**20
_ENDLESS = 1 << 62
# How much is left free on a disk, for others that write there too.
_KEEP_FREE = 256 * 2**20
_KEEP_SHARE = 50
_BLOCKED_SECONDS = 30.0
# The most files that are given to every process.
SHARED_FILES = 4


class SpillPlace:
    """An object's location on disk, and the checksum of each of its pieces.

    `checked` says that the contents were verified, so that they may be mapped.
    """

    __slots__ = ("checked", "directory", "offset", "size", "sums")

    def __init__(self, directory: SpillDirectory, offset: int, size: int) -> None:
        self.directory = directory
        self.offset = offset
        self.size = size
        self.sums: list[int] = []
        self.checked = False

    @property
    def path(self) -> str:
        """What this node's processes map: the file itself has no name.

        A path, or the number of a file that all of them have open (`store.mapping.Mapping`).
        """
        if self.directory.number is not None:
            return str(self.directory.number)
        return f"/proc/{os.getpid()}/fd/{self.directory.fd}"

    def corrupt(self) -> str:
        """The message for contents that are not what was written."""
        return (
            f"its only copy, in a spill file in {self.directory.path}, is corrupt: it is not what "
            "was written there. The disk may be failing; nothing else was lost by it"
        )


class SpillDirectory:
    """One spill directory: its file (opened when first needed) and its allocations.

    `number`: every process of this node is given the file when it starts, under this number.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.number: int | None = None
        self.fd = -1
        self.places = Allocator(_ENDLESS)
        self.blocked_until = 0.0

    def open(self) -> None:
        """Open the file.

        Raises:
            OSError: the directory is unusable.
        """
        if self.fd >= 0:
            return
        try:
            flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
            self.fd = os.open(self.path, flags, 0o600)
        except (IsADirectoryError, NotImplementedError):
            self.fd = self._open_and_unlink()
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            self.fd = self._open_and_unlink()

    def room(self) -> int:
        """How many bytes can still be written."""
        space = os.fstatvfs(self.fd)
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        return free - min(_KEEP_FREE, total // _KEEP_SHARE)

    def _open_and_unlink(self) -> int:
        fd, name = tempfile.mkstemp(prefix="rayhpc-spill-", dir=self.path)
        os.unlink(name)
        return fd


def open_for_all(paths: Sequence[str]) -> list[SpillDirectory]:
    """Directories whose files are open, to be given to every process of this node.

    For nodes where processes may not open each other's descriptors (`machine.shared_uid`).  Leaves
    out unusable directories, and those for which a message has no room.
    """
    found: list[SpillDirectory] = []
    for path in paths:
        directory = SpillDirectory(path)
        try:
            directory.open()
        except OSError as error:
            logger.warning("nothing is spilled to %s: %s", path, error.strerror)
            continue
        directory.number = len(found)
        found.append(directory)
    return found[:SHARED_FILES]


_NO_TMPFILE = (95, 22)  # EOPNOTSUPP, EINVAL: a file system without O_TMPFILE


class Spiller:
    """Allocates space on disk and frees it.

    Args:
        directories: where to spill, best first.
        context: our node.
    """

    def __init__(self, directories: Sequence[SpillDirectory], context: StoreContext) -> None:
        self.spilled = 0
        self.placed = 0
        self.placed_bytes = 0
        self.problem = "" if directories else "there is no directory to spill to"
        self._directories = directories
        self._context = context

    def place(self, size: int) -> SpillPlace | None:
        """Allocate `size` bytes in the directory with the most room; None if there is none."""
        best: SpillDirectory | None = None
        best_room = size - 1
        now = self._context.now()
        for directory in self._directories:
            if directory.blocked_until > now:
                continue
            try:
                directory.open()
                room = directory.room()
            except OSError as error:
                self._block(directory, error.strerror or str(error))
                continue
            if room > best_room:
                best, best_room = directory, room
            elif best is None:
                self.problem = f"{directory.path} has no room for {size} bytes"
        if best is None:
            return None
        offset = best.places.allocate(size)
        assert offset is not None
        self.spilled += size
        self.placed += 1
        self.placed_bytes += size
        return SpillPlace(best, offset, size)

    def failed(self, place: SpillPlace, reason: str) -> None:
        """Avoid a directory for a while, as writing there failed."""
        self._block(place.directory, reason)
        self.release(place)

    def release(self, place: SpillPlace) -> None:
        """Free the space, and its blocks on the disk."""
        self.spilled -= place.size
        directory = place.directory
        # Punched before the space is allocated again, so that no new object is hit.
        self._context.executor.submit(
            lambda: kernel.punch_hole(directory.fd, place.offset, place.size),
            lambda _: directory.places.free(place.offset),
        )

    def close(self) -> None:
        """Close the files, which deletes their contents."""
        for directory in self._directories:
            if directory.fd >= 0:
                os.close(directory.fd)
                directory.fd = -1

    def _block(self, directory: SpillDirectory, reason: str) -> None:
        directory.blocked_until = self._context.now() + _BLOCKED_SECONDS
        self.problem = f"{directory.path}: {reason}"


def write(place: SpillPlace, view: memoryview) -> str:
    """Write an object's bytes; returns why that failed, or "".  For a background thread."""
    try:
        for start in range(0, place.size, PIECE):
            piece = view[start : start + PIECE]
            place.sums.append(zlib.crc32(piece))
            position = place.offset + start
            while piece.nbytes:
                done = os.pwrite(place.directory.fd, piece, position)
                position += done
                piece = piece[done:]
    except OSError as error:
        return error.strerror or str(error)
    finally:
        view.release()
    return ""


def reserve(place: SpillPlace) -> bool:
    """Allocate blocks for the space, so that it can be mapped for writing.  For a thread."""
    try:
        return kernel.reserve(place.directory.fd, place.offset, place.size)
    except OSError:
        return False


def add_piece(place: SpillPlace, start: int, data: bytes) -> bool:
    """Write one piece of an object, in any order; False: the disk refuses."""
    if not place.sums:
        place.sums = [0] * -(-place.size // PIECE)
    place.sums[start // PIECE] = zlib.crc32(data)
    try:
        return os.pwrite(place.directory.fd, data, place.offset + start) == len(data)
    except OSError:
        return False


def sums_of(place: SpillPlace) -> list[int] | None:
    """The checksums of the contents; None: they cannot be read.  For a background thread."""
    found = []
    whole = bytearray(min(PIECE, place.size))
    with memoryview(whole) as view:
        for start in range(0, place.size, PIECE):
            with view[: min(PIECE, place.size - start)] as target:
                if not _read_exactly(place, start, target):
                    return None
                found.append(zlib.crc32(target))
    return found


def is_whole(place: SpillPlace) -> bool:
    """Whether the contents are what was written.  For a background thread."""
    found = sums_of(place)
    return found is not None and (not place.sums or found == place.sums)


def read(place: SpillPlace, view: memoryview) -> bool:
    """Read an object back into memory; False if it is not what was written.  For a thread."""
    with view:
        for number, start in enumerate(range(0, place.size, PIECE)):
            with view[start : min(start + PIECE, place.size)] as target:
                if not _read_exactly(place, start, target):
                    return False
                if place.sums and zlib.crc32(target) != place.sums[number]:
                    return False
    return True


def read_pieces(place: SpillPlace, start: int, length: int) -> bytes | None:
    """Some bytes of an object, checked; None if they are not what was written.  For a thread."""
    first, last = start // PIECE, (start + length - 1) // PIECE
    whole = bytearray(min((last + 1) * PIECE, place.size) - first * PIECE)
    with memoryview(whole) as view:
        for number in range(first, last + 1):
            offset = (number - first) * PIECE
            with view[offset : offset + PIECE] as target:
                if not _read_exactly(place, number * PIECE, target):
                    return None
                if place.sums and zlib.crc32(target) != place.sums[number]:
                    return None
    skipped = start - first * PIECE
    return bytes(whole[skipped : skipped + length])


def _read_exactly(place: SpillPlace, start: int, target: memoryview) -> bool:
    position, done = place.offset + start, 0
    try:
        while done < target.nbytes:
            with target[done:] as rest:
                got = os.preadv(place.directory.fd, [rest], position + done)
            if got <= 0:
                return False
            done += got
    except OSError:
        return False
    return True
