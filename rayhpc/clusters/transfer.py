"""Files to and from machines as one tar stream over ssh: no rsync is needed on either side.

Called by `stages` (hashes) and by `bring_up`, `copying` (streams).  Never follows a symbolic link
out of the folder that is copied, and a stream from a machine writes only below its destination.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rayhpc.clusters.patterns import Patterns, files_of, is_left_out

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Mount:
    """One of `file_mounts`: a place on the machines, and the file or folder here."""

    theirs: str
    ours: str

    @property
    def path(self) -> Path:
        """The file or folder on this machine."""
        return Path(self.ours).expanduser()


def digest(mount: Mount, patterns: Patterns) -> str:
    """A hash of names, contents and modes.  Raises OSError for what cannot be read."""
    found = hashlib.sha256()
    for path, name in _members(mount.path, patterns):
        status = path.lstat()
        found.update(f"{name}\0{status.st_mode:o}\0".encode())
        if path.is_symlink():
            found.update(os.readlink(path).encode())
        elif path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
    return found.hexdigest()


def pack(path: Path, patterns: Patterns, into: IO[bytes]) -> None:
    """Write a file or a folder's contents as a tar stream.

    A single file has the name `file`; the receiver gives it its own.

    Raises:
        OSError: something cannot be read, or the receiver is gone.
    """
    with tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for member, name in _members(path, patterns):
            info = archive.gettarinfo(str(member), name)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            if info.isreg():
                with member.open("rb") as file:
                    archive.addfile(info, file)
            elif info.isdir() or info.issym():
                archive.addfile(info)


def unpack(stream: IO[bytes], into: Path, single: str | None, patterns: Patterns) -> None:
    """Read a tar stream into a folder; `single` is the name for the one file it holds.

    What the patterns' own list leaves out is not written.

    Raises:
        OSError: it cannot be written, or the stream holds something that would lie elsewhere.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if single is not None:
                    member.name = single
                if single is None and is_left_out(member.name, member.isdir(), patterns):
                    continue
                if not _is_harmless(member):
                    raise OSError(f"the machine sent {member.name!r}, which is not below {into}")
                member.uid, member.gid, member.uname, member.gname = (
                    os.getuid(),
                    os.getgid(),
                    "",
                    "",
                )
                archive.extract(member, into, set_attrs=True)
    except tarfile.TarError as error:
        raise OSError(f"what the machine sent is not whole: {error}") from error


def _is_harmless(member: tarfile.TarInfo) -> bool:
    if not (member.isreg() or member.isdir() or member.issym()):
        return False
    names = [member.name]
    if member.issym():
        names.append(os.path.join(os.path.dirname(member.name), member.linkname))
    return not any(os.path.normpath(name).startswith(("/", "..")) for name in names)


def _members(path: Path, patterns: Patterns) -> Iterator[tuple[Path, str]]:
    """What is copied, with the names it has in the stream."""
    if not path.is_dir():
        path.lstat()  # the error names it
        yield path.resolve(), "file"
        return
    for each in files_of(path, patterns):
        yield each, str(each.relative_to(path))
