"""What this machine remembers of a cluster, and that one command at a time changes it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rayhpc.clusters import record
from rayhpc.clusters.errors import ClusterBusyError
from rayhpc.clusters.record import ClusterRecord, Condition, RecordFolder


@pytest.fixture
def folder(tmp_path: Path) -> RecordFolder:
    made = RecordFolder({"XDG_STATE_HOME": str(tmp_path)}, "demo")
    made.make()
    return made


def test_a_machines_condition_is_remembered(folder: RecordFolder, tmp_path: Path) -> None:
    folder.write(ClusterRecord(name="demo", file="/c.yaml", text="…"))
    condition = Condition(phase="setup_commands", at=1.0, command="x", exit_code=9, tail=["a"])
    folder.note("h1", condition)
    again = RecordFolder({"XDG_STATE_HOME": str(tmp_path)}, "demo").read()
    assert again is not None
    assert again.conditions == {"h1": condition}
    assert record.names({"XDG_STATE_HOME": str(tmp_path)}) == ["demo"]


def test_nobody_else_can_read_it(folder: RecordFolder) -> None:
    folder.write(ClusterRecord(name="demo", file="/c.yaml", text="…"))
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "cluster.json").stat().st_mode) == 0o600


def test_what_is_damaged_is_as_if_it_were_not_there(folder: RecordFolder) -> None:
    (folder.path / "cluster.json").write_text("{")
    assert folder.read() is None


def test_a_second_command_is_refused_and_told_which_is_at_work(folder: RecordFolder) -> None:
    refused = pytest.raises(ClusterBusyError, match="process [0-9]+ on this machine")
    with folder.locked(), refused, folder.locked():
        pass
    with folder.locked():
        pass


def test_host_keys_outlive_the_cluster(folder: RecordFolder) -> None:
    folder.write(ClusterRecord(name="demo", file="/c.yaml", text="…"))
    folder.known_hosts.write_text("h1 ssh-ed25519 AAAA\n")
    folder.remove_record()
    assert folder.read() is None
    assert folder.known_hosts.exists()
