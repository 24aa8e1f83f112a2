"""This user's sessions on this machine: their directories, their records, and which are alive.

Called by the node process (creates its own), by `init` and the CLI (find one).  Never looks at
other users' files or at processes it has no record of, never opens a connection, and never removes
anything: `leftovers.py` does.

A session is a directory `<base>/<name>`, 0700, containing `session.json` and `lock`.  Its node
process holds the lock (flock) for life, so the kernel itself says whether a session still has a
process, even to a command in another PID namespace.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from rayhpc.exit_codes import ExitCode
from rayhpc.machine import processes, scratch
from rayhpc.machine.removal import RECORD as RECORD
from rayhpc.wire.keys import ClusterKey

LOCK = "lock"
ATTACH = "raylet.sock"
# The kind of sessions that `rayhpc start` creates.
BY_HAND = "start"

_NAME = re.compile(r"[0-9a-f]{8}\.[0-9a-f]{6}")


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session's description of itself.

    `endpoints` are the head's addresses as "ip:port", best first; `kind` is what started it (start,
    run, embedded; ray: a node of the real Ray, to which nothing attaches), `started` is the node
    process's start time in ticks, `pid_namespace` where its pid is valid, `created` in seconds
    since 1970, `job` the scheduler's job id or empty.
    `launcher` is the pid and start time of the `rayhpc run` that the node belongs to, if any: that
    is the process to signal.
    """

    session_dir: str
    cluster_id: str
    endpoints: list[str]
    node_ip: str
    is_head: bool
    kind: str
    pid: int
    started: int
    boot_id: str
    pid_namespace: int
    created: float
    node_id: str = ""
    job: str = ""
    launcher: tuple[int, int] | None = None

    @property
    def address(self) -> str:
        """The head's address, in the form RAYHPC_ADDRESS and `--address` accept."""
        return self.endpoints[0] if self.endpoints else ""

    @property
    def head_places(self) -> list[tuple[str, int]]:
        """Address and port of each of the head's endpoints."""
        split = (endpoint.rpartition(":") for endpoint in self.endpoints)
        return [(ip, int(port)) for ip, _, port in split]

    def completed(self, key: ClusterKey) -> ClusterKey:
        """The cluster's key, with this session's record of where the head listens."""
        return msgspec.structs.replace(key, head_endpoints=self.head_places)

    @property
    def ready(self) -> bool:
        """Whether drivers can attach."""
        return os.path.exists(os.path.join(self.session_dir, ATTACH))


class SessionNotFoundError(ConnectionError):
    """There is no session of this user on this machine at that address."""

    code = int(ExitCode.CONFIGURATION)


def new_name(cluster_id: str) -> str:
    """A unique name of at most 16 bytes: a piece of the cluster's id and six hex digits."""
    return f"{cluster_id[:8]}.{os.urandom(3).hex()}"


def make_directory(base: Path, name: str) -> tuple[Path, int]:
    """Create a session's directory; returns it and the descriptor that holds its lock.

    Raises:
        OSError: it exists or cannot be created.
    """
    path = base / name
    path.mkdir(mode=0o700)
    (path / "logs").mkdir(mode=0o700)
    lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return path, lock


def record_of_this_process(
    path: Path,
    *,
    cluster_id: str,
    endpoints: list[str],
    node_ip: str,
    is_head: bool,
    kind: str,
    node_id: str = "",
    job: str = "",
    launcher: tuple[int, int] | None = None,
) -> SessionRecord:
    """The record of a session whose node process is the caller."""
    return SessionRecord(
        session_dir=str(path),
        cluster_id=cluster_id,
        endpoints=endpoints,
        node_ip=node_ip,
        is_head=is_head,
        kind=kind,
        pid=os.getpid(),
        started=processes.start_time(os.getpid()) or 0,
        boot_id=processes.boot_id(),
        pid_namespace=pid_namespace(),
        created=time.time(),
        node_id=node_id,
        job=job,
        launcher=launcher,
    )


def write_record(record: SessionRecord) -> None:
    """Write `session.json` atomically, so that readers see all of it or nothing."""
    temporary = os.path.join(record.session_dir, f".{RECORD}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record)))
    os.replace(temporary, os.path.join(record.session_dir, RECORD))


def read_record(path: Path) -> SessionRecord | None:
    """The record in a session's directory; None if there is none or it is unreadable."""
    try:
        return msgspec.json.decode((path / RECORD).read_bytes(), type=SessionRecord)
    except (OSError, msgspec.DecodeError):
        return None


def pid_namespace() -> int:
    """The id of this process's PID namespace; 0 if unsupported."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def is_running(record: SessionRecord) -> bool:
    """Whether a session's node process is running, as far as this process can tell."""
    same = (record.boot_id, record.pid_namespace) == (processes.boot_id(), pid_namespace())
    return same and processes.is_same_process(record.pid, record.started)


def living(environ: Mapping[str, str], *, ready: bool = True) -> list[SessionRecord]:
    """This user's sessions here that drivers can attach to, newest first.

    Without `ready`, also those still starting.
    """
    found = []
    for path in directories(environ):
        record = read_record(path)
        if record is not None and is_running(record) and (record.ready or not ready):
            found.append(record)
    return sorted(found, key=lambda each: each.created, reverse=True)


def find(address: str, environ: Mapping[str, str] | None = None) -> SessionRecord:
    """The session to attach to.

    Args:
        address: `auto`, the head's `ip:port` (or `host:port`), or a session's directory.

    Raises:
        SessionNotFoundError: there is none on this machine; the message says what to do.
    """
    environ = os.environ if environ is None else environ
    if address.startswith("/"):
        return _by_directory(Path(address))
    found = living(environ)
    if address != "auto":
        return _by_address(address, found)
    told = environ.get("RAYHPC_ADDRESS", "")
    if told not in ("", "auto"):
        return find(told, environ)
    return _only(found, environ)


def started_by_hand(environ: Mapping[str, str] | None = None) -> SessionRecord | None:
    """A ready node of the newest cluster that this user started here with `rayhpc start`."""
    found = living(os.environ if environ is None else environ)
    same = _newest([each for each in found if each.kind == BY_HAND])
    # Several nodes of one cluster may share this machine: programs use the head's.
    return min(same, key=lambda record: not record.is_head, default=None)


def directories(environ: Mapping[str, str]) -> Iterator[Path]:
    """Directories (or links to them) that we own and that are named like a session's."""
    for base in scratch.existing_bases(environ):
        for name in sorted(os.listdir(base)):
            path = base / name
            if _NAME.fullmatch(name) and _is_own(path):
                yield path


def _is_own(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    kind_ok = stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
    return kind_ok and status.st_uid == os.geteuid()


def _by_directory(path: Path) -> SessionRecord:
    record = read_record(path)
    if record is None or not is_running(record):
        raise SessionNotFoundError(
            f"{path} is not the directory of a running session of yours on this machine; "
            "`rayhpc status` lists your sessions"
        )
    return record


def _by_address(address: str, found: list[SessionRecord]) -> SessionRecord:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SessionNotFoundError(
            f"{address!r} is not an address: give the head's ip:port (it is printed by "
            "`rayhpc start --head`), a session's directory, or auto"
        )
    names = _addresses_of(host)
    matching = [each for each in found if _is_at(each, names, port)]
    # Several nodes of one cluster may share this machine: the head's node is meant.
    for each in sorted(matching, key=lambda record: not record.is_head):
        return each
    here = "; sessions of yours here: " + _listed(found) if found else ""
    raise SessionNotFoundError(
        f"this machine is not a node of the cluster at {address}, or not yours. A driver runs on "
        f"one of the cluster's nodes: start the program there, or join this machine first with "
        f"`rayhpc start --address={address}`{here}"
    )


def _is_at(record: SessionRecord, hosts: set[str], port: str) -> bool:
    """Whether the head at that address is meant; loopback means only a head on this machine."""
    ours = record.is_head and any(each.startswith("127.") for each in hosts)
    for endpoint in record.endpoints:
        ip, _, its_port = endpoint.rpartition(":")
        local = ours and not ip.startswith("127.")
        if its_port == port and (ip in hosts or local):
            return True
    return False


def _addresses_of(host: str) -> set[str]:
    from rayhpc.launch import host_names

    bare = host.strip("[]")
    try:
        return {bare, *host_names.addresses_of(bare)}
    except OSError:
        return {bare}


def _only(found: list[SessionRecord], environ: Mapping[str, str]) -> SessionRecord:
    """The cluster that `auto` means: this job's, else the newest one started by hand (as in Ray),
    else the one that one of our programs has started for itself.
    """
    from rayhpc.batch.detect import around

    job = around(environ).job_id(environ)
    for chosen in (
        [each for each in found if job and each.job == job],
        _newest([each for each in found if each.kind == BY_HAND]),
        [each for each in found if each.kind != "embedded"],
        found,
    ):
        clusters = {each.cluster_id for each in chosen}
        if len(clusters) > 1:
            raise SessionNotFoundError(
                "several clusters of yours run on this machine; name one of them as address: "
                + _listed(chosen)
            )
        if chosen:
            return min(chosen, key=lambda record: not record.is_head)
    raise SessionNotFoundError(
        "no cluster of yours runs on this machine: start one with `rayhpc start --head`, or call "
        "init() without an address for a private one"
    )


def _newest(found: list[SessionRecord]) -> list[SessionRecord]:
    """The sessions of the newest cluster; `found` is sorted newest first."""
    return [each for each in found if each.cluster_id == found[0].cluster_id]


def _listed(found: list[SessionRecord]) -> str:
    return ", ".join(dict.fromkeys(each.address for each in found))
