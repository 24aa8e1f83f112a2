"""The file systems visible to this process (proc_pid_mountinfo(5)).

Used to find cgroup hierarchies and to tell node-local directories from shared ones.  Never
touches the file systems themselves: a dead NFS server cannot make it hang.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Types on which AF_UNIX sockets fail or which every node sees; FUSE types are matched by prefix.
SHARED_TYPES = frozenset(
    {
        *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3"),
        *("afs", "panfs", "pvfs2", "wekafs", "9p", "ocfs2", "gfs2"),
    }
)


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo: which part of which file system is mounted where."""

    root: str
    point: str
    fstype: str
    options: frozenset[str]

    @property
    def shared(self) -> bool:
        """Whether other nodes may see the same files."""
        return self.fstype in SHARED_TYPES or self.fstype.startswith("fuse.")


def read_mounts(root: Path = Path("/")) -> list[Mount]:
    """All mounts of this process, in mounting order; empty if /proc is unavailable."""
    try:
        text = (root / "proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return []
    return [mount for mount in map(_parse, text.splitlines()) if mount is not None]


def mount_of(path: str | os.PathLike[str], mounts: list[Mount]) -> Mount | None:
    """The mount that contains `path`; where mounts cover each other the last one wins."""
    wanted = os.path.realpath(path)
    best: Mount | None = None
    for mount in mounts:
        prefix = mount.point.rstrip("/") + "/"
        inside = (wanted + "/").startswith(prefix)
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _parse(line: str) -> Mount | None:
    left, separator, right = line.partition(" - ")
    fields, tail = left.split(" "), right.split(" ")
    if not separator or len(fields) < 6 or len(tail) < 3:
        return None
    options = frozenset(tail[2].split(",")) | frozenset(fields[5].split(","))
    return Mount(_unescape(fields[3]), _unescape(fields[4]), tail[0], options)


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
