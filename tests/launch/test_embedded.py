"""A node inside a program: it serves, it has the size it was given, and it never outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import embedded, sessions
from rayhpc.launch.embedded import EmbeddedSession
from rayhpc.launch.observer import Observer
from rayhpc.machine import scratch
from rayhpc.wire.messages.common import UNIT
from tests.launch.processes import family, left_of, names_in, wait_until_gone

HOLDER = """
import sys
from rayhpc.launch import embedded
session = embedded.start(num_cpus=1)
print(session.pid, session.session_dir, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_directories(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAYHPC_ADDRESS", raising=False)


def check_gone(session: EmbeddedSession, known: dict[int, int]) -> None:
    assert left_of(known) == []
    assert wait_until_gone([Path(session.session_dir)]) == []


def test_it_serves_with_the_size_it_was_given_and_leaves_nothing() -> None:
    session = embedded.start(
        num_cpus=3, num_gpus=2, memory=1 << 30, resources={"disk": 1.5}, labels={"zone": "a"}
    )
    try:
        known = family(session.pid)
        with Observer(session.session_dir) as observer:
            (node,) = observer.nodes()
        info = node.info
        assert info.node_id == session.node_id
        assert info.total["CPU"] == 3 * UNIT
        assert info.total["GPU"] == 2 * UNIT
        assert info.total["memory"] == (1 << 30) * UNIT
        assert info.total["disk"] == UNIT * 3 // 2
        assert info.total["node:127.0.0.1"] == UNIT
        assert info.total["node:__internal_head__"] == UNIT
        assert info.labels["zone"] == "a"
        assert info.is_head
        assert all(ip.startswith("127.") for ip, _ in info.endpoints)
        found = sessions.find("auto")
        assert (found.session_dir, found.address) == (session.session_dir, session.address)
        assert found.node_id == session.node_id
    finally:
        session.stop()
    assert len(known) >= 3  # the raylet, the head and the fork server
    check_gone(session, known)
    assert names_in(Path(session.session_dir).parent) == []


def test_everything_of_the_session_is_ours_alone() -> None:
    session = embedded.start(num_cpus=1)
    try:
        for folder, _, files in os.walk(session.session_dir):
            assert os.stat(folder).st_mode & 0o077 == 0, folder
            for name in files:
                assert os.lstat(Path(folder, name)).st_mode & 0o077 == 0, name
    finally:
        session.stop()


def test_no_secret_is_in_arguments_or_environment() -> None:
    session = embedded.start(num_cpus=1)
    try:
        record = sessions.find(session.session_dir)
        for pid in family(session.pid):
            shown = Path(f"/proc/{pid}/cmdline").read_bytes()
            shown += Path(f"/proc/{pid}/environ").read_bytes()
            assert record.cluster_id.encode() not in shown
            assert b"RAYHPC_KEY" not in shown
    finally:
        session.stop()


@pytest.mark.parametrize("victim", ["raylet", "fork server"])
def test_a_killed_process_takes_the_session_with_it(victim: str) -> None:
    session = embedded.start(num_cpus=1)
    known = family(session.pid)
    # In the order they are forked: the head first, then the fork server, then its workers.
    children = Path(f"/proc/{session.pid}/task/{session.pid}/children").read_text().split()
    pid = {"raylet": session.pid, "fork server": int(children[1])}[victim]
    try:
        os.kill(pid, signal.SIGKILL)
        check_gone(session, known)
        assert not session.is_running()
    finally:
        session.stop()


def test_a_killed_program_takes_the_session_with_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        pid, session_dir = program.stdout.readline().split()
        known = family(int(pid))
        program.kill()
    assert left_of(known) == []
    assert wait_until_gone([Path(session_dir)]) == []


def test_a_forked_child_of_the_program_does_not_keep_the_session(tmp_path: Path) -> None:
    """As multiprocessing makes them: the child has a copy of every descriptor."""
    script = HOLDER.replace(
        "sys.stdin.read()",
        "import os\npid = os.fork()\n"
        "if pid == 0:\n    import time; time.sleep(60)\n"
        "print(pid, flush=True)\nsys.stdin.read()\n",
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        pid, session_dir = program.stdout.readline().split()
        child = int(program.stdout.readline())
        known = family(int(pid))
        program.kill()
        program.wait()
        try:
            assert left_of(known) == []
            assert wait_until_gone([Path(session_dir)]) == []
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_wrong_argument_starts_nothing(short_tmp: Path) -> None:
    with pytest.raises(LaunchError, match="--num-cpus") as caught:
        embedded.start(num_cpus=-1)
    assert caught.value.code == ExitCode.CONFIGURATION
    with pytest.raises(LaunchError, match="does not fit"):
        embedded.start(num_cpus=1, object_store_memory=1 << 45)
    assert names_in(scratch.session_base(dict(os.environ))) == []


def test_a_directory_that_is_too_long_says_which_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path / ("x" * 80)))
    with pytest.raises(LaunchError, match=scratch.VARIABLE) as caught:
        embedded.start(num_cpus=1)
    assert caught.value.code == ExitCode.PERMISSION


def test_an_own_place_for_the_session_is_found_again(short_tmp: Path) -> None:
    own = short_tmp / "own"
    own.mkdir()
    session = embedded.start(num_cpus=1, session_dir=str(own))
    try:
        assert session.session_dir.startswith(str(own))
        assert sessions.find("auto").session_dir == session.session_dir
    finally:
        session.stop()
    assert names_in(scratch.session_base(dict(os.environ))) == []


def test_modules_of_the_working_directory_do_not_get_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('not the one you want')\n")
    monkeypatch.chdir(tmp_path)
    embedded.start(num_cpus=1).stop()
