"""The record that ranks meet by: private, atomic, and told apart from a stale one."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.rendezvous import FOLDER, Record, Rendezvous, Report
from rayhpc.wire import keys
from rayhpc.wire.keys import ClusterKey


@pytest.fixture
def key() -> ClusterKey:
    return ClusterKey(
        cluster_id=keys.new_cluster_id(),
        node=keys.new_key_pair(),
        head_public=keys.new_key_pair().public,
        head_endpoints=[("10.0.0.1", 1234)],
    )


def no_pause(_: float) -> None:
    raise AssertionError("nothing to wait for")


def published(path: Path, key: ClusterKey) -> Rendezvous:
    head = Rendezvous([path], "7.0.0")
    head.prepare()
    head.publish(Record(key=key))
    return head


def test_what_the_head_writes_the_others_read(tmp_path: Path, key: ClusterKey) -> None:
    published(tmp_path / "r", key)
    found = Rendezvous([tmp_path / "r"], "7.0.0").wait(1.0, 0.0, no_pause)
    assert found.key == key
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o700
    (record,) = (tmp_path / "r").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600


def test_the_secret_is_in_no_repr(tmp_path: Path, key: ClusterKey) -> None:
    assert key.node.secret.decode() not in repr(Record(key=key))


def test_another_restart_is_another_record(tmp_path: Path, key: ClusterKey) -> None:
    published(tmp_path / "r", key)
    assert Rendezvous([tmp_path / "r"], "7.0.1").fetch() is None


def test_a_reader_waits_for_the_writer(tmp_path: Path, key: ClusterKey) -> None:
    waits = threading.Event()

    def write() -> None:
        assert waits.wait(60)
        published(tmp_path / "r", key)

    writer = threading.Thread(target=write)
    writer.start()

    def pause(_: float) -> None:
        waits.set()

    found = Rendezvous([tmp_path / "r"], "7.0.0").wait(10.0, 0.0, pause)
    writer.join()
    assert found.key == key


def test_a_stale_record_is_not_taken_twice(tmp_path: Path, key: ClusterKey) -> None:
    head = published(tmp_path / "r", key)
    reader = Rendezvous([tmp_path / "r"], "7.0.0")
    stale = reader.wait(1.0, 0.0, no_pause)

    def pause(_: float) -> None:
        head.publish(Record(key=key))

    fresh = reader.wait(5.0, stale.written, pause)
    assert fresh.written > stale.written


def test_the_head_removes_an_earlier_starts_record(tmp_path: Path, key: ClusterKey) -> None:
    published(tmp_path / "r", key)
    Rendezvous([tmp_path / "r"], "7.0.0").prepare()
    assert Rendezvous([tmp_path / "r"], "7.0.0").fetch() is None


def test_nobody_comes(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="--rendezvous") as caught:
        Rendezvous([tmp_path / "r"], "7.0.0").wait(0.0, 0.0, no_pause)
    assert caught.value.code == ExitCode.RENDEZVOUS


def test_a_head_that_gives_up_says_why(tmp_path: Path) -> None:
    head = Rendezvous([tmp_path / "r"], "7.0.0")
    head.prepare()
    head.publish(Record(error="no port is free", code=78))
    with pytest.raises(LaunchError, match="no port is free") as caught:
        Rendezvous([tmp_path / "r"], "7.0.0").wait(1.0, 0.0, no_pause)
    assert caught.value.code == 78


def test_reports_reach_the_head(tmp_path: Path, key: ClusterKey) -> None:
    head = published(tmp_path / "r", key)
    report = Report(rank=2, node=2, host="n2", error="no Python 3.11", code=73)
    Rendezvous([tmp_path / "r"], "7.0.0").report(report)
    assert head.reports() == {2: report}
    # Of a rank 0 that was killed while writing.
    (tmp_path / "r" / ".7.0.0.key.4711").write_text("half a rec")
    head.withdraw()
    assert list((tmp_path / "r").iterdir()) == []


def test_a_record_that_others_can_read_is_refused(tmp_path: Path, key: ClusterKey) -> None:
    published(tmp_path / "r", key)
    os.chmod(tmp_path / "r" / "7.0.0.key", 0o644)
    with pytest.raises(LaunchError, match="0644") as caught:
        Rendezvous([tmp_path / "r"], "7.0.0").fetch()
    assert caught.value.code == ExitCode.PERMISSION


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    os.chmod(tmp_path / "r", 0o777)
    with pytest.raises(LaunchError, match="0777"):
        Rendezvous([tmp_path / "r"], "7.0.0").prepare()
    with pytest.raises(LaunchError, match="0777"):
        Rendezvous([tmp_path / "r"], "7.0.0").fetch()


def test_a_link_in_the_records_place_is_not_followed(tmp_path: Path, key: ClusterKey) -> None:
    published(tmp_path / "a", key)
    (tmp_path / "b").mkdir(mode=0o700)
    (tmp_path / "b" / "7.0.0.key").symlink_to(tmp_path / "a" / "7.0.0.key")
    with pytest.raises(OSError):
        Rendezvous([tmp_path / "b"], "7.0.0").fetch()


def test_the_first_directory_that_nodes_share_is_enough(tmp_path: Path, key: ClusterKey) -> None:
    mine, shared = tmp_path / "mine", tmp_path / "shared"
    head = Rendezvous([mine, shared], "7.0.0")
    head.prepare()
    head.publish(Record(key=key))
    elsewhere = Rendezvous([tmp_path / "theirs", shared], "7.0.0")
    assert elsewhere.wait(1.0, 0.0, no_pause).key == key


def test_our_own_folder_goes_with_the_last_job(tmp_path: Path, key: ClusterKey) -> None:
    head = published(tmp_path / FOLDER, key)
    (tmp_path / FOLDER / "8.0.0.key").touch()
    head.leave()
    assert (tmp_path / FOLDER).exists()
    (tmp_path / FOLDER / "8.0.0.key").unlink()
    head.leave()
    assert not (tmp_path / FOLDER).exists()


def test_a_job_that_leaves_disturbs_none_that_arrives(tmp_path: Path, key: ClusterKey) -> None:
    stop = threading.Event()

    def leave() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                (tmp_path / FOLDER).rmdir()
            time.sleep(0.0003)  # more often than jobs end, and not between any two calls

    other = threading.Thread(target=leave)
    other.start()
    try:
        for i in range(300):
            head = Rendezvous([tmp_path / FOLDER], f"8.{i}.0")
            head.prepare()
            head.publish(Record(key=key))
            found = Rendezvous([tmp_path / FOLDER], f"8.{i}.0").wait(1.0, 0.0, no_pause)
            assert found.key == key
            head.leave()
    finally:
        stop.set()
        other.join()
