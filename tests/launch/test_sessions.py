"""Session directories: found, told apart, and swept only when nobody is left in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from rayhpc.launch import leftovers, sessions
from rayhpc.launch.sessions import SessionNotFoundError, SessionRecord
from rayhpc.machine import processes, scratch

CLUSTER = "0123456789abcdef" * 2


@pytest.fixture
def base(environ: dict[str, str]) -> Path:
    return scratch.session_base(environ)


@pytest.fixture
def dead() -> subprocess.Popen[bytes]:
    """A process that has ended, whose pid we know."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child


def make(base: Path, *, cluster_id: str = CLUSTER, **changes: object) -> tuple[SessionRecord, int]:
    """A session whose node process we are; returns the descriptor of its lock, too."""
    path, lock = sessions.make_directory(base, sessions.new_name(cluster_id))
    record = sessions.record_of_this_process(
        path,
        cluster_id=cluster_id,
        endpoints=["10.1.2.3:6379", "127.0.0.1:6379"],
        node_ip="10.1.2.3",
        is_head=True,
        kind="start",
    )
    record = msgspec.structs.replace(record, **changes)
    sessions.write_record(record)
    (path / sessions.ATTACH).touch()
    return record, lock


def test_a_name_fits_into_what_socket_paths_leave() -> None:
    assert len(sessions.new_name(CLUSTER)) <= scratch.SESSION_NAME_BYTES
    assert sessions.new_name(CLUSTER) != sessions.new_name(CLUSTER)


def test_the_directory_is_ours_alone(base: Path) -> None:
    record, _ = make(base)
    for path in (Path(record.session_dir), Path(record.session_dir, "logs")):
        assert path.stat().st_mode & 0o777 == 0o700
    assert Path(record.session_dir, sessions.RECORD).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("address", ["auto", "10.1.2.3:6379", "127.0.0.1:6379", "localhost:6379"])
def test_a_session_is_found(base: Path, environ: dict[str, str], address: str) -> None:
    record, _ = make(base)
    assert sessions.find(address, environ) == record
    assert sessions.find(record.session_dir, environ) == record


@pytest.mark.parametrize("address", ["10.1.2.3:6380", "10.1.2.4:6379", "/nowhere", "nonsense"])
def test_another_address_is_refused_with_what_to_do(
    base: Path, environ: dict[str, str], address: str
) -> None:
    make(base)
    with pytest.raises(SessionNotFoundError, match=r"rayhpc st|ip:port"):
        sessions.find(address, environ)


def test_no_session_at_all(environ: dict[str, str], base: Path) -> None:
    with pytest.raises(SessionNotFoundError, match="rayhpc start --head"):
        sessions.find("auto", environ)


def test_auto_follows_the_environment(base: Path, environ: dict[str, str]) -> None:
    make(base, cluster_id="a" * 32, endpoints=["10.1.2.3:1"], kind="embedded")
    other, _ = make(base, cluster_id="b" * 32, endpoints=["10.1.2.3:2"], kind="embedded")
    with pytest.raises(SessionNotFoundError, match=r"10\.1\.2\.3:1.*|10\.1\.2\.3:2"):
        sessions.find("auto", environ)
    assert sessions.find("auto", {**environ, "RAYHPC_ADDRESS": "10.1.2.3:2"}) == other


def test_auto_means_the_newest_cluster_that_was_made_by_hand(
    base: Path, environ: dict[str, str]
) -> None:
    older, _ = make(base, cluster_id="a" * 32, created=10.0)
    newer, _ = make(base, cluster_id="b" * 32, created=20.0)
    assert sessions.find("auto", environ) == sessions.started_by_hand(environ) == newer
    assert older.cluster_id != newer.cluster_id


def test_auto_prefers_a_cluster_to_another_programs_own(
    base: Path, environ: dict[str, str]
) -> None:
    make(base, cluster_id="a" * 32, kind="embedded")
    started, _ = make(base, cluster_id="b" * 32)
    assert sessions.find("auto", environ) == started


def test_auto_prefers_the_jobs_own_cluster(base: Path, environ: dict[str, str]) -> None:
    make(base, cluster_id="a" * 32, kind="run", job="1")
    own, _ = make(base, cluster_id="b" * 32, kind="run", job="2")
    assert sessions.find("auto", {**environ, "SLURM_JOB_ID": "2"}) == own


def test_of_several_nodes_here_the_heads_is_meant(base: Path, environ: dict[str, str]) -> None:
    make(base, is_head=False)
    head, _ = make(base)
    make(base, is_head=False)
    assert sessions.find("10.1.2.3:6379", environ) == head
    assert sessions.find("auto", environ) == head


def test_a_session_that_is_not_ready_is_not_found(base: Path, environ: dict[str, str]) -> None:
    record, _ = make(base)
    Path(record.session_dir, sessions.ATTACH).unlink()
    assert sessions.living(environ) == []
    assert sessions.living(environ, ready=False) == [record]


@pytest.mark.parametrize("changes", [{"started": 1}, {"boot_id": "x"}, {"pid_namespace": 1}])
def test_a_pid_alone_is_nobody(
    base: Path, environ: dict[str, str], changes: dict[str, object]
) -> None:
    make(base, **changes)
    assert sessions.living(environ, ready=False) == []


def test_a_dead_session_is_swept(
    base: Path, environ: dict[str, str], dead: subprocess.Popen[bytes]
) -> None:
    record, lock = make(base, pid=dead.pid)
    os.close(lock)
    assert leftovers.sweep(environ) == [Path(record.session_dir)]
    assert not Path(record.session_dir).exists()


def test_a_session_whose_lock_is_held_stays(
    base: Path, environ: dict[str, str], dead: subprocess.Popen[bytes]
) -> None:
    """As that of a container whose pids mean nothing here."""
    record, _ = make(base, pid=dead.pid, pid_namespace=1)
    assert leftovers.sweep(environ) == []
    assert Path(record.session_dir).exists()


def test_a_living_session_and_strangers_stay(base: Path, environ: dict[str, str]) -> None:
    record, lock = make(base)
    os.close(lock)
    (base / "my own notes").mkdir()
    (base / "12345678.notes").mkdir()
    assert leftovers.sweep(environ) == []
    assert len(list(base.iterdir())) == 3
    assert Path(record.session_dir).exists()


def test_a_directory_without_a_record_gets_time_to_be_written(
    base: Path, environ: dict[str, str]
) -> None:
    path = base / sessions.new_name(CLUSTER)
    path.mkdir()
    assert leftovers.sweep(environ) == []
    long_ago = time.time() - 1000
    os.utime(path, (long_ago, long_ago))
    assert leftovers.sweep(environ) == [path]


def test_a_link_to_a_session_that_is_gone_is_swept(base: Path, environ: dict[str, str]) -> None:
    link = base / sessions.new_name(CLUSTER)
    link.symlink_to(base / "gone")
    assert leftovers.sweep(environ) == [link]
    assert not link.is_symlink()


def test_the_own_process_is_known_by_its_start() -> None:
    assert processes.is_same_process(os.getpid(), processes.start_time(os.getpid()) or 0)
