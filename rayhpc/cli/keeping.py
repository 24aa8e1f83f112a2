"""The head's own loop on a cloud: it adds and ends workers with its machine's role, after `up`.

`rayhpc up` hands the cluster over (`adopt`) and takes it back before it changes anything (`leave`);
in between a process of its own (`keep`) does what `rayhpc up --stay` does elsewhere.  It ends with
the head's node.  What it says is in that node's logs.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from rayhpc.batch.rendering import OUR_RAYHPC
from rayhpc.cli.cluster_access import Cluster, tell
from rayhpc.cli.staying import Staying
from rayhpc.clusters import head_plan, renting
from rayhpc.clusters.errors import ClusterBusyError
from rayhpc.clusters.plan import Found, Wanted
from rayhpc.clusters.record import RecordFolder
from rayhpc.clusters.rental import Rental
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import sessions
from rayhpc.launch.sessions import SessionRecord
from rayhpc.machine import processes, whole_file

LOG = "growing.log"
_LOCK, _NOTE = "growing.lock", "growing.pid"
# A turn in progress waits for its place's answer.
_LEAVE_S = 120
# The line of an `up --stay` that was killed is there for a moment longer.
_ADOPT_S = 20
_LONG_S = 3600.0


class Process(msgspec.Struct, frozen=True):
    """Which process keeps the cluster."""

    pid: int
    started: int
    boot_id: str


@contextmanager
def only_planner(cluster: str) -> Iterator[None]:
    """Be the only planner of the cluster whose head is here, wherever that planner is.

    Raises:
        ClusterBusyError: there is another one.
    """
    descriptor = _open_lock(RecordFolder(os.environ, cluster))
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(cluster) from None
        yield
    finally:
        os.close(descriptor)


def adopt(cluster: str, session_dir: str, plan: bytes) -> None:
    """Begin to keep a cluster whose head is here; it goes on when this returns.

    Args:
        cluster: its name.
        session_dir: its head's session.
        plan: what `up` has sent; empty: the plan is the last one.

    Raises:
        LaunchError: it cannot be done here: a package is missing, or somebody else does it.
    """
    _running(cluster, session_dir)
    folder = RecordFolder(os.environ, cluster)
    folder.make()
    if plan:
        head_plan.write(folder.path, plan)
    renting.make_own_key(folder.path, cluster)
    _, rental = _opened(folder)
    rental.living()
    rental.prepare()  # without the rights to these, nothing goes
    _let_in(rental.public_key())
    if not _nobody_plans(folder, _ADOPT_S):
        raise _busy(cluster)
    with open(Path(session_dir, "logs", LOG), "ab") as log:
        words = [*OUR_RAYHPC, "_machine", "keep"]
        none = subprocess.DEVNULL
        begun = subprocess.Popen(words, stdin=none, stdout=log, stderr=log, start_new_session=True)
    started = processes.start_time(begun.pid) or 0
    note_process(folder.path, Process(begun.pid, started, processes.boot_id()))


def note_process(folder: Path, process: Process) -> None:
    """Note which one keeps the cluster.  Raises OSError."""
    whole_file.write(folder / _NOTE, msgspec.json.encode(process))


def leave(cluster: str) -> bool:
    """End the process that keeps a cluster, once it has no question open; whether there was one.

    Raises:
        LaunchError: it does not end.
    """
    folder = RecordFolder(os.environ, cluster)
    try:
        found = msgspec.json.decode((folder.path / _NOTE).read_bytes(), type=Process)
    except (OSError, msgspec.DecodeError):
        return False
    if found.boot_id != processes.boot_id():
        return False
    if not processes.send_signal(found.pid, found.started, signal.SIGTERM):
        return False
    if not _nobody_plans(folder, _LEAVE_S):  # its line to the head has the lock
        raise LaunchError(
            f"the process {found.pid}, which adds workers here, waits for its place for longer "
            f"than {_LEAVE_S} s: try again"
        )
    return True


def keep(cluster: str, session_dir: str) -> None:
    """Add and end workers until `leave`, or the end of the head's node.

    Raises:
        LaunchError: the cluster is over, or somebody else does it.
    """
    record = _running(cluster, session_dir)
    folder = RecordFolder(os.environ, cluster)
    mine, rental = _opened(folder)
    keeping = _Keeping(mine, rental, record)
    told, tell_it = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(tell_it, b"!"))
    threading.Thread(target=_end_when_told, args=(told, keeping), daemon=True).start()
    threading.Thread(target=_end_with, args=(record,), daemon=True).start()
    keeping.run()
    # Machines that are being set up are left to whoever takes the cluster over.
    sys.stderr.flush()
    os._exit(0)


class _Keeping(Staying):
    """The same, on the head's own machine."""

    def __init__(self, cluster: Cluster, rental: Rental, record: SessionRecord) -> None:
        super().__init__(cluster, rental)
        self._record = record

    def _words(self) -> Sequence[str]:
        return [*OUR_RAYHPC, "_machine", "grow"]

    def _has_head(self) -> bool:
        return sessions.is_running(self._record)

    def _renew(self) -> None:
        """Nobody has to: it ends with the head, and so do the machines."""

    def _agreed(self, wanted: list[Wanted], found: dict[str, Found]) -> list[Wanted]:
        """The head stays as `up` has left it: files were copied as they were then."""
        head = found[self._head.name].prints
        return [
            replace(
                each,
                prints=head if each.is_head else replace(each.prints, files=head.files),
            )
            for each in wanted
        ]


def _opened(folder: RecordFolder) -> tuple[Cluster, Rental]:
    """The cluster by its plan.  Raises LaunchError."""
    file, users_key = head_plan.load(folder.path)
    cluster = Cluster(file, folder, None)
    kind = cluster.rental_kind
    if kind is None:
        raise LaunchError(f"no machines are made by {file.config.provider_type!r}")
    return cluster, Rental(file, kind, cluster.auth, folder, tell, users_key)


def _running(cluster: str, session_dir: str) -> SessionRecord:
    """The session of the head here.  Raises LaunchError if it does not run."""
    record = sessions.read_record(Path(session_dir))
    if record is None or not sessions.is_running(record):
        raise LaunchError(f"the head of cluster {cluster} does not run", ExitCode.HEAD_LOST)
    return record


def _end_when_told(told: int, keeping: Staying) -> None:
    """Not in the handler of the signal, which may interrupt whoever holds a lock."""
    os.read(told, 1)
    keeping.end()


def _end_with(record: SessionRecord) -> None:
    """Wait for the end of the head's node, and end this process."""
    with suppress(ProcessLookupError):
        descriptor = processes.open_pidfd(record.pid)
        if descriptor is None:
            return  # the next turn notices
        while sessions.is_running(record) and not processes.readable(descriptor, _LONG_S):
            pass
    os._exit(0)


def _nobody_plans(folder: RecordFolder, within_s: int) -> bool:
    """Wait until there is no planner any more; False: there is one."""
    os.close(_open_lock(folder))
    words = ["flock", "-w", str(within_s), str(folder.path / _LOCK), "true"]
    return subprocess.run(words, check=False).returncode == 0


def _busy(cluster: str) -> ClusterBusyError:
    return ClusterBusyError(
        f"another process adds and ends the workers of cluster {cluster} already: an `up --stay` "
        "elsewhere, or the head itself"
    )


def _let_in(public_key: str) -> None:
    """This machine is one of those that its own key must open: `up` reaches the head by ssh."""
    path = Path("~/.ssh/authorized_keys").expanduser()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    if public_key not in lines:
        whole_file.write(path, "".join(f"{line}\n" for line in [*lines, public_key]).encode())


def _open_lock(folder: RecordFolder) -> int:
    folder.make()
    return os.open(folder.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
