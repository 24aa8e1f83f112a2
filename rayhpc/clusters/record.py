"""What this user's machine remembers of its clusters: which file, which machines, how each fares.

Used by the commands, so that a cluster can be named, and taken down when its file has changed or
gone.  A private folder for each (`$XDG_STATE_HOME/rayhpc/clusters/NAME`, 0700); the truth about a
machine is what the machine says, not what stands here.  Nothing is kept in a temporary directory.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rayhpc.clusters.errors import ClusterBusyError
from rayhpc.clusters.hosts import Host

_RECORD, _LOCK, _KNOWN_HOSTS = "cluster.json", "lock", "known_hosts"


class KnownHost(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of the cluster, as it was logged in to."""

    name: str
    login: str
    user: str | None = None
    port: int | None = None
    node_type: str = ""
    is_head: bool = False


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine fares: its phase, last command, that one's exit code and last lines."""

    phase: str
    at: float
    command: str = ""
    exit_code: int | None = None
    sentence: str = ""
    tail: list[str] = []


class ClusterRecord(msgspec.Struct, kw_only=True):
    """Everything that is remembered of one cluster.

    `text` is its file as it was last brought up, `file` where that was read.
    """

    name: str
    file: str
    text: str
    hosts: list[KnownHost] = []
    conditions: dict[str, Condition] = {}
    address: str = ""


class RecordFolder:
    """One cluster's folder; `note` may be called from several threads."""

    def __init__(self, environ: Mapping[str, str], name: str) -> None:
        self.path = clusters_folder(environ) / name
        self.name = name
        self._record: ClusterRecord | None = None
        self._guard = threading.Lock()

    @property
    def known_hosts(self) -> Path:
        """Where the host keys of its machines are pinned."""
        return self.path / _KNOWN_HOSTS

    def make(self) -> None:
        """Create the folder if need be.  Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.mkdir(exist_ok=True, mode=0o700)

    def read(self) -> ClusterRecord | None:
        """The record; None if there is none, or it cannot be read."""
        try:
            data = (self.path / _RECORD).read_bytes()
            return msgspec.json.decode(data, type=ClusterRecord)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, record: ClusterRecord) -> None:
        """Replace the record as a whole."""
        with self._guard:
            self._record = record
            self._save(record)

    def note(self, host: str, condition: Condition) -> None:
        """Remember how a machine of the record that was written fares."""
        with self._guard:
            if self._record is not None:
                self._record.conditions[host] = condition
                self._save(self._record)

    def remove_record(self) -> None:
        """Forget the cluster, all but its host keys."""
        (self.path / _RECORD).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands of this user, on this machine, from changing the cluster.

        Raises:
            ClusterBusyError: one is at it.
        """
        self.make()
        descriptor = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy(self.name, os.pread(descriptor, 20, 0).decode().strip()) from None
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _save(self, record: ClusterRecord) -> None:
        temporary = self.path / f".{_RECORD}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record)))
        os.replace(temporary, self.path / _RECORD)


def busy(name: str, pid: str = "") -> ClusterBusyError:
    """The error for a second command that would change a cluster at the same time."""
    who = f" (process {pid} on this machine)" if pid else " (from another machine or user)"
    return ClusterBusyError(
        f"another `rayhpc up` or `down` of cluster {name} is at work{who}: wait for it to end"
    )


def clusters_folder(environ: Mapping[str, str]) -> Path:
    """The folder of all clusters' folders."""
    state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "rayhpc" / "clusters"


def names(environ: Mapping[str, str]) -> list[str]:
    """The clusters that are remembered, sorted."""
    return sorted(path.parent.name for path in clusters_folder(environ).glob(f"*/{_RECORD}"))


def known(host: Host) -> KnownHost:
    """A machine as the record has it."""
    return KnownHost(
        name=host.name,
        login=host.login,
        user=host.user,
        port=host.port,
        node_type=host.node_type,
        is_head=host.is_head,
    )


def now(phase: str, command: str = "", sentence: str = "") -> Condition:
    """A condition that begins at this moment."""
    return Condition(phase=phase, at=time.time(), command=command, sentence=sentence)
