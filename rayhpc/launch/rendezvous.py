"""How ranks find the head: one record, written atomically to a directory that all of them can see.

Used by `run`.  The record contains the cluster's key, so it has mode 0600 inside a directory that
we own and nobody else can write to; every reader checks both.  A rank that cannot start leaves a
report beside it, so that rank 0 knows why its wait is in vain.
Nothing is polled here for long: once the nodes have joined, the directory is empty again.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.wire.keys import ClusterKey

# Our own directory inside one that the nodes share.
FOLDER = ".rayhpc"
_MOST_LEAVERS = 1000
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
# Each pause over the one before: what is waited for is seen a tenth of the wait too late.
PAUSE_GROWTH = 1.1
_OLD_S = 86_400
# How long a rank waits before it checks whether rank 0 could write anything here at all.
_ALONE_S = 1.0


class Record(msgspec.Struct, kw_only=True):
    """What rank 0 tells the others: the key, or why there will be no cluster.

    `engine` says what runs the cluster's nodes (`engines.engine.NAMES`).
    """

    key: ClusterKey | None = None
    engine: str = "rayhpc"
    error: str = ""
    code: int = 0
    written: float = 0.0


class Report(msgspec.Struct, kw_only=True):
    """What a rank that cannot start tells rank 0."""

    rank: int
    node: int
    host: str
    error: str
    code: int


class Rendezvous:
    """The record and the reports of one start of these ranks.

    Args:
        directories: where to look, best first; rank 0 writes to each that it can, since only the
            nodes themselves know which of them they share.
        name: the start's own name (job, step, restart).
    """

    def __init__(self, directories: list[Path], name: str) -> None:
        self._candidates = directories
        self._fit: list[Path] = []
        self._record = f"{name}.key"
        self._report = f"{name}.failed."

    # -- rank 0 -----------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Create the directories and remove what an earlier start with that name left behind.

        Raises:
            LaunchError: none of them can be used.
        """
        problems = []
        for path in self._candidates:
            try:
                _make_private(path)
                self._fit.append(path)
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}")
        if not self._fit:
            raise _no_place(problems)
        self.withdraw()
        for path in self._fit:
            _remove_old(path)

    def publish(self, record: Record) -> None:
        """Put the record in place atomically.

        Raises:
            LaunchError: the disk is full, or the directory no longer exists.
        """
        record.written = time.time()
        for path in self._fit:
            try:
                _write_beside_others(path / self._record, msgspec.json.encode(record))
            except OSError as error:
                _leave_empty(path / self._record)
                raise _unwritable(path, str(error.strerror)) from None

    def reports(self) -> dict[int, Report]:
        """The reports left by ranks that cannot start, by rank."""
        found: dict[int, Report] = {}
        for path in self._fit:
            for name in _names(path):
                if name.startswith(self._report):
                    data = _read_private(path, name)
                    report = msgspec.json.decode(data, type=Report) if data else None
                    if report is not None:
                        found[report.rank] = report
        return found

    def withdraw(self) -> None:
        """Remove record and reports, and the directories that are then empty."""
        for path in self._fit:
            for name in _names(path):
                # The last is a record that somebody was killed while writing.
                ours = (self._report, f".{self._record}.")
                if name == self._record or name.startswith(ours):
                    (path / name).unlink(missing_ok=True)

    def leave(self) -> None:
        """Withdraw, and remove those directories that we created, if they are empty."""
        self.withdraw()
        for path in self._fit:
            if path.name == FOLDER:
                try:
                    path.rmdir()
                except OSError:
                    pass  # another job is using it

    # -- other ranks ------------------------------------------------------------------------------
    def fetch(self) -> Record | None:
        """The record, if it exists.

        Raises:
            LaunchError: it, or its directory, is accessible to others.
        """
        for path in self._candidates:
            data = _read_private(path, self._record)
            if data:
                return msgspec.json.decode(data, type=Record)
            if data is not None:
                problem = _unwritable(path, "its disk is full, or your quota is used up")
                return Record(error=str(problem), code=problem.code, written=time.time())
        return None

    def wait(self, timeout_s: float, after: float, pause: Callable[[float], None]) -> Record:
        """Wait for a record written later than `after` (0: any).

        Args:
            timeout_s: how long, in seconds.
            after: `written` of a record whose head turned out to be gone.
            pause: waits for this many seconds; may raise to give up.

        Raises:
            LaunchError: none appears in time, or rank 0 says that it cannot start.
        """
        began = time.monotonic()
        deadline = began + timeout_s
        looked = False
        for seconds in _pauses():
            record = self.fetch()
            if record is not None and record.written > after:
                if record.error:
                    raise LaunchError(record.error, record.code)
                return record
            if not looked and time.monotonic() >= began + _ALONE_S:
                looked = True
                self._check_places()
            if time.monotonic() >= deadline:
                raise LaunchError(self._missed(timeout_s, after), ExitCode.RENDEZVOUS)
            pause(seconds)
        raise AssertionError("pauses never end")

    def report(self, report: Report) -> None:
        """Tell rank 0 that this rank cannot start; fails silently if that is impossible."""
        for path in self._candidates:
            if path.is_dir():
                try:
                    name = f"{self._report}{report.rank}"
                    _write_atomically(path / name, msgspec.json.encode(report))
                except OSError:
                    continue

    def _check_places(self) -> None:
        """Rank 0, with the same rights, cannot report its failure where nothing can be written.

        Raises:
            LaunchError: none of the directories can be used from here.
        """
        problems = [(path, _why_unusable(path)) for path in self._candidates]
        if all(why for _, why in problems):
            raise _no_place([f"{path}: {why}" for path, why in problems])

    def _missed(self, timeout_s: float, after: float) -> str:
        places = ", ".join(map(str, self._candidates))
        if after:
            return (
                f"the head named in {places} does not answer, and no new one has appeared within "
                f"{timeout_s:g} s: can this node reach it? `rayhpc doctor` shows this node's "
                "addresses, --interface chooses among them"
            )
        return (
            f"rank 0 has written nothing to {places} in {timeout_s:g} s: has it started, and do "
            "all nodes see the same directory? Name one that they share with --rendezvous or "
            "RAYHPC_SHARED_DIR, or allow more time with --start-timeout"
        )


def _no_place(problems: list[str]) -> LaunchError:
    return LaunchError(
        "no directory is usable for the ranks to meet in (" + "; ".join(problems) + "): name "
        "one that all nodes see with --rendezvous or RAYHPC_SHARED_DIR",
        ExitCode.RENDEZVOUS,
    )


def _why_unusable(path: Path) -> str:
    """Why this user can neither create nor use a directory; empty if nothing prevents it."""
    where = path if os.path.lexists(path) else path.parent
    if not os.path.isdir(where):
        return os.strerror(errno.ENOTDIR if os.path.lexists(where) else errno.ENOENT)
    return "" if os.access(where, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)


def _pauses() -> Iterator[float]:
    seconds = FIRST_PAUSE_S
    while True:
        yield seconds
        seconds = min(seconds * PAUSE_GROWTH, LONGEST_PAUSE_S)


def _remove_old(path: Path) -> None:
    """Remove what failed starts left for their ranks to read, a day ago or more."""
    for name in _names(path):
        if name.endswith(".key") or ".key." in name or ".failed." in name:
            try:
                if time.time() - (path / name).stat().st_mtime > _OLD_S:
                    (path / name).unlink()
            except FileNotFoundError:
                continue


def _make_private(path: Path) -> None:
    _while_others_leave(lambda: _make_once(path))


def _make_once(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    os.close(_open_directory(path))


def _while_others_leave(action: Callable[[], None]) -> None:
    """Run an action in a directory that another job, leaving it empty, may remove at any moment; a
    job does so only once, and fewer than the retries end while we start.
    """
    for _ in range(_MOST_LEAVERS):
        try:
            action()
            return
        except FileNotFoundError:
            continue
    action()


def _open_directory(path: Path) -> int:
    """Open a directory that only we can write to.  Raises PermissionError for any other."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(descriptor)
        owner = f"belongs to uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
        raise PermissionError(0, f"{owner}; it must be yours and writable by nobody else")
    return descriptor


def _names(path: Path) -> list[str]:
    """The names in a directory, read from the directory itself.

    NFS caches that a name was missing; opening the directory makes it check again.
    """
    try:
        descriptor = _open_directory(path)
    except FileNotFoundError:
        return []
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _read_private(path: Path, name: str) -> bytes | None:
    """The content of one of our files; None if it does not exist.

    Raises:
        LaunchError: someone else could have written it or could read it.
    """
    try:
        directory = _open_directory(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LaunchError(f"{path}: {error.strerror}", ExitCode.PERMISSION) from None
    try:
        if name not in os.listdir(directory):
            return None
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return None
    finally:
        os.close(directory)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise LaunchError(
                f"{path / name} belongs to uid {status.st_uid} and has mode "
                f"{stat.S_IMODE(status.st_mode):04o}; a valid record is readable by nobody else: "
                "remove it, or name another directory with --rendezvous",
                ExitCode.PERMISSION,
            )
        return file.read()


def _unwritable(path: Path, reason: str) -> LaunchError:
    return LaunchError(
        f"the rendezvous record cannot be written to {path}: {reason}; make room there, or name "
        "another directory that all nodes see with --rendezvous or RAYHPC_SHARED_DIR",
        ExitCode.RENDEZVOUS,
    )


def _leave_empty(path: Path) -> None:
    """Even a full disk usually takes a new name: an empty record tells the others not to wait."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError:
        pass  # they will time out on their own


def _write_beside_others(path: Path, data: bytes) -> None:
    """Write a file into a directory that other jobs may remove at any moment."""

    def write() -> None:
        _make_once(path.parent)
        _write_atomically(path, data)

    _while_others_leave(write)


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
