"""A head that is a process, here or on a login node: whether it runs is known from its start on."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.exit_codes import LaunchError
from rayhpc.launch.batch_cluster.head import Launch, Phase
from rayhpc.launch.batch_cluster.process_head import ProcessHead
from rayhpc.machine import processes

# The last argument is what the login node's shell gets.
SSH = """#!/bin/sh
echo "$@" >>{calls}
test -e {down} && {{ echo "no route to host" >&2; exit 255; }}
for text; do :; done
exec sh -c "$text"
"""
RUNS, FAILS = "exec sleep 100", "echo it cannot; exit 3"


class Login:
    """A login node that is this machine under another name, and how often it was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.down = folder / "calls", folder / "down"
        ssh = folder / "ssh"
        ssh.write_text(SSH.format(calls=self.calls, down=self.down))
        ssh.chmod(0o700)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setattr(socket, "gethostname", lambda: "where-the-user-is")


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    return Login(tmp_path, monkeypatch)


def _launch(folder: Path, script: str) -> Launch:
    return Launch("demo", folder, ("--growth", "none"), (script,), str(folder))


def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # the test's own time is the limit
        time.sleep(0.01)


def _lives(head: ProcessHead) -> None:
    assert head.condition().phase is Phase.GONE
    head.start(_launch(head.folder, RUNS))
    assert head.condition().phase is Phase.STARTING
    head.stop()
    _until(lambda: head.condition().phase is Phase.GONE)
    head.start(_launch(head.folder, FAILS))
    _until(lambda: head.condition().phase is Phase.GONE)
    assert head.log().read_text() == "it cannot\n"


def test_here(tmp_path: Path) -> None:
    _lives(ProcessHead(tmp_path))


def test_on_a_login_node(tmp_path: Path, login: Login) -> None:
    _lives(ProcessHead(tmp_path, "login1"))


def test_one_that_has_ended_where_nobody_reaps_it(tmp_path: Path, login: Login) -> None:
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        started = Path(f"/proc/{ended.pid}/stat").read_text().rpartition(") ")[2].split()[19]
        noted = f"login1 {processes.boot_id()} {ended.pid} {started}"
        (tmp_path / "head.process").write_text(noted)
        assert ProcessHead(tmp_path, "login1").condition().phase is Phase.GONE


def test_another_command_knows_it_as_well(tmp_path: Path) -> None:
    started, other = ProcessHead(tmp_path), ProcessHead(tmp_path)
    started.start(_launch(tmp_path, RUNS))
    assert other.condition().phase is Phase.STARTING
    other.stop()
    _until(lambda: started.condition().phase is Phase.GONE)


def test_a_login_node_that_cannot_be_asked(tmp_path: Path, login: Login) -> None:
    head = ProcessHead(tmp_path, "login1")
    login.down.touch()
    assert head.condition().phase is Phase.GONE  # none was started: nobody is asked
    assert not login.calls.exists()
    with pytest.raises(LaunchError, match="cannot be started on login1: no route to host"):
        head.start(_launch(tmp_path, RUNS))
    login.down.unlink()
    head.start(_launch(tmp_path, RUNS))
    login.down.touch()
    with pytest.raises(LaunchError, match="cannot be asked: no route to host"):
        head.condition()
    login.down.unlink()
    head.stop()
    _until(lambda: head.condition().phase is Phase.GONE)
