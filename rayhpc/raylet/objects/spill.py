"""Objects on disk: one file without a name per spill directory, in which objects have places.

Used by `reclaim`, `table` and `pulls`.  Files without names need no sweeping: the kernel frees them
however the raylet ends; this node's processes map them by way of the raylet's descriptor.  The
functions at the end do the slow work and belong in a background thread; the rest is bookkeeping in
the raylet's own.
"""

from __future__ import annotations

import os
import tempfile
import zlib

from rayhpc.raylet.objects.context import StoreContext
from rayhpc.store import kernel
from rayhpc.store.allocator import Allocator

# Objects are read back, and checked, in pieces of this size (that of a chunk between nodes).
PIECE = 2**20
_ENDLESS = 1 << 62
# What is left free on a disk: others write there too.
_KEEP_FREE = 256 * 2**20
_KEEP_SHARE = 50
_BLOCKED_SECONDS = 30.0


class SpillPlace:
    """Where an object lies on disk, and the checksum of each of its pieces.

    `checked` says that what is there was seen to be what was written, so that it may be mapped.
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
        """What this node's processes open to map it: the file itself has no name."""
        return f"/proc/{os.getpid()}/fd/{self.directory.fd}"

    def corrupt(self) -> str:
        """What to say when it is not what was written there."""
        return (
            f"its only copy, in a spill file in {self.directory.path}, is corrupt: it is not what "
            "was written there. The disk may be failing; nothing else was lost by it"
        )


class SpillDirectory:
    """One spill directory: its file (opened when first needed) and what is taken of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1
        self.places = Allocator(_ENDLESS)
        self.blocked_until = 0.0

    def open(self) -> None:
        """Open the file.

        Raises:
            OSError: the directory cannot be used.
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
        """Bytes that may still be written."""
        space = os.fstatvfs(self.fd)
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        return free - min(_KEEP_FREE, total // _KEEP_SHARE)

    def _open_and_unlink(self) -> int:
        fd, name = tempfile.mkstemp(prefix="rayhpc-spill-", dir=self.path)
        os.unlink(name)
        return fd


_NO_TMPFILE = (95, 22)  # EOPNOTSUPP, EINVAL: a file system without O_TMPFILE


class Spiller:
    """Finds places on disk and gives them back.

    Args:
        paths: the directories, the best first.
        context: our node.
    """

    def __init__(self, paths: list[str], context: StoreContext) -> None:
        self.spilled = 0
        self.placed = 0
        self.placed_bytes = 0
        self.problem = "" if paths else "there is no directory to spill to"
        self._directories = [SpillDirectory(path) for path in paths]
        self._context = context

    def place(self, size: int) -> SpillPlace | None:
        """A place for `size` bytes in the directory with most room; None if there is none."""
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
        """Writing there failed: leave that directory alone for a while."""
        self._block(place.directory, reason)
        self.release(place)

    def release(self, place: SpillPlace) -> None:
        """Give a place back, and its blocks to the disk."""
        self.spilled -= place.size
        directory = place.directory
        # Punched before it is handed out again, so that nobody's new object is hit.
        self._context.executor.submit(
            lambda: kernel.punch_hole(directory.fd, place.offset, place.size),
            lambda _: directory.places.free(place.offset),
        )

    def close(self) -> None:
        """Close the files, and with them delete what is in them."""
        for directory in self._directories:
            if directory.fd >= 0:
                os.close(directory.fd)
                directory.fd = -1

    def _block(self, directory: SpillDirectory, reason: str) -> None:
        directory.blocked_until = self._context.now() + _BLOCKED_SECONDS
        self.problem = f"{directory.path}: {reason}"


def write(place: SpillPlace, view: memoryview) -> str:
    """Write an object's bytes to its place; empty, or why that failed.  For a thread."""
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
    """Give a place its blocks, so that who maps it can write there.  For a thread."""
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
    """The checksums of what lies at a place; None: it cannot be read.  For a thread."""
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
    """Whether what lies at a place is what was written.  For a thread."""
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
