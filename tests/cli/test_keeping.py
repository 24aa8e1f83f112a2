"""One planner at a time; the head's own is ended by whoever takes the cluster back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.cli import keeping
from rayhpc.clusters.errors import ClusterBusyError
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.machine import processes

# As the head's loop: it has the lock until it is told to end.
_KEEPER = """
import signal
from rayhpc.cli import keeping
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with keeping.only_planner("c"):
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
print("over", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "rayhpc" / "clusters" / "c"
    path.mkdir(parents=True)
    return path


def test_a_second_planner_is_refused(folder: Path) -> None:
    with keeping.only_planner("c"):
        with pytest.raises(ClusterBusyError, match="already") as caught, keeping.only_planner("c"):
            pass
        assert caught.value.code == ExitCode.REFUSED
        with keeping.only_planner("another"):
            pass
    with keeping.only_planner("c"):
        pass


def test_the_heads_own_has_ended_when_it_has_been_told_to(folder: Path) -> None:
    words = [sys.executable, "-c", _KEEPER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "ready\n"
        note = keeping.Process(
            keeper.pid, processes.start_time(keeper.pid) or 0, processes.boot_id()
        )
        keeping.note_process(folder, note)
        assert keeping.leave("c")
        with keeping.only_planner("c"):
            assert keeper.stdout.readline() == "over\n"
    assert not keeping.leave("c")


def test_nobody_is_ended_who_is_not_the_one(folder: Path) -> None:
    assert not keeping.leave("c")
    with subprocess.Popen(["sleep", "60"]) as other:
        started = processes.start_time(other.pid) or 0
        keeping.note_process(folder, keeping.Process(other.pid, started + 1, processes.boot_id()))
        assert not keeping.leave("c")
        keeping.note_process(folder, keeping.Process(other.pid, started, "another boot"))
        assert not keeping.leave("c")
        assert other.poll() is None
        other.kill()


def test_a_head_that_does_not_run_adopts_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="does not run"):
        keeping.adopt("c", str(tmp_path), b"")
    assert list(folder.iterdir()) == []
