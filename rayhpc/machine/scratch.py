"""Where a session may create its sockets, and where objects may be spilled.

Called by whatever starts or looks for a session.  Creates at most one directory, `rayhpc-<uid>`,
readable only by this user, on node-local disk and with a name short enough for every socket
beneath it to be bound (AF_UNIX allows 107 bytes, unix(7)).  Never removes anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rayhpc.machine.mounts import Mount, mount_of, read_mounts

SOCKET_PATH_BYTES = 107
SESSION_NAME_BYTES = 16
SOCKET_NAME_BYTES = 24
VARIABLE = "RAYHPC_TMPDIR"

_BASE_BYTES = SOCKET_PATH_BYTES - (1 + SESSION_NAME_BYTES) - (1 + SOCKET_NAME_BYTES)


@dataclass(frozen=True)
class Candidate:
    """A directory that may be suitable, and what named it."""

    path: str
    source: str


@dataclass(frozen=True)
class SpillDirectory:
    """A node-local directory for objects; `free` in bytes, `memory` if it is a tmpfs."""

    path: str
    source: str
    free: int
    memory: bool


def session_base(environ: Mapping[str, str], *, create: bool = True) -> Path:
    """Create or find this user's private directory for sessions; without `create` only name it.

    The first candidate that is local, short enough and safe is used; one that the user named in
    RAYHPC_TMPDIR must be.  Raises PermissionError or OSError listing every candidate, what is
    wrong with it, and the variable to set.
    """
    problems: list[str] = []
    mounts = read_mounts()
    for candidate in session_candidates(environ):
        try:
            return _private_directory(candidate, mounts, create)
        except OSError as error:
            problems.append(f"  {candidate.path} ({candidate.source}): {_reason(error)}")
            if candidate.source == VARIABLE:
                break
    raise PermissionError(
        "no directory is fit for this session's sockets:\n"
        + "\n".join(problems)
        + f"\nset {VARIABLE} to a directory on this node's own disk that only you can write to "
        f"(at most {_BASE_BYTES - len(_own_name()) - 1} bytes long)"
    )


def existing_bases(environ: Mapping[str, str]) -> list[Path]:
    """This user's existing private directories, for finding sessions; creates none."""
    found: list[Path] = []
    for candidate in session_candidates(environ):
        base = Path(candidate.path) / _own_name()
        if base not in found and _problem_with(base) is None:
            found.append(base)
    return found


def session_candidates(environ: Mapping[str, str]) -> list[Candidate]:
    """Where sessions may go, best first."""
    if environ.get(VARIABLE):
        return [Candidate(environ[VARIABLE], VARIABLE)]
    named = [
        Candidate(environ[name], name)
        for name in ("SLURM_TMPDIR", "TMPDIR", "XDG_RUNTIME_DIR")
        if environ.get(name) and _is_private(environ[name])
    ]
    return [*named, Candidate("/tmp", "default"), Candidate("/var/tmp", "default")]


def spill_directories(environ: Mapping[str, str]) -> list[SpillDirectory]:
    """Node-local directories that we can write to: real disks first, each as the job named it.

    LOCAL_DIRS is YARN's list, one per disk.  A tmpfs comes last: spilling there frees no memory.
    """
    mounts, found = read_mounts(), list[SpillDirectory]()
    for candidate in _spill_candidates(environ):
        mount = mount_of(candidate.path, mounts)
        if (mount is not None and mount.shared) or not os.access(candidate.path, os.W_OK | os.X_OK):
            continue
        space = os.statvfs(candidate.path)
        memory = mount is not None and mount.fstype in ("tmpfs", "ramfs")
        free = space.f_bavail * space.f_frsize
        found.append(SpillDirectory(candidate.path, candidate.source, free, memory))
    return sorted(found, key=lambda each: each.memory)


def tmp_is_private(mounts: list[Mount] | None = None, path: str = "/tmp") -> bool:
    """Whether this job has its own /tmp (by its owner, or a bind mount of a subdirectory)."""
    found = [m for m in (read_mounts() if mounts is None else mounts) if m.point == path]
    return bool(found and found[-1].root != "/") or _is_private(path)


def _spill_candidates(environ: Mapping[str, str]) -> Iterator[Candidate]:
    for name in ("SLURM_TMPDIR", "LOCAL_DIRS", "TMPDIR"):
        for path in filter(None, environ.get(name, "").split(",")):
            yield Candidate(path, name)
    for path in ("/tmp", "/var/tmp"):
        if path != environ.get("TMPDIR"):
            yield Candidate(path, "default")


def _private_directory(candidate: Candidate, mounts: list[Mount], create: bool) -> Path:
    base = Path(candidate.path) / _own_name()
    if not base.is_absolute():
        raise OSError("not an absolute path")
    excess = len(os.fsencode(base)) - _BASE_BYTES
    if excess > 0:
        raise OSError(f"its path is {excess} bytes too long for sockets beneath it")
    mount = mount_of(candidate.path, mounts)
    if mount is not None and mount.shared:
        raise OSError(f"it is on {mount.fstype}, where sockets do not work")
    if not _parent_is_safe(candidate.path):
        raise OSError("other users could replace our directory (world-writable, not sticky)")
    if not create and not os.path.lexists(base):
        return base
    try:
        base.mkdir(mode=0o700)
    except FileExistsError:
        pass
    problem = _problem_with(base)
    if problem is not None:
        raise PermissionError(f"{base} {problem}")
    return base


def _problem_with(base: Path) -> str | None:
    """Why `base` cannot be trusted; None if it is a directory that only we can access."""
    try:
        status = base.lstat()
    except OSError as error:
        return _reason(error)
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link; remove it"
    if not stat.S_ISDIR(status.st_mode):
        return "is not a directory; remove it"
    if status.st_uid != os.geteuid():
        return f"belongs to uid {status.st_uid}"
    if stat.S_IMODE(status.st_mode) != 0o700:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}; chmod it to 0700"
    return None


def _parent_is_safe(path: str) -> bool:
    status = os.stat(path)
    owned = status.st_uid in (0, os.geteuid())
    return owned and (not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX))


def _is_private(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _own_name() -> str:
    return f"rayhpc-{os.geteuid()}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
