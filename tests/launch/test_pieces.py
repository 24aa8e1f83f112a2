"""Small parts on the way from a start to an end: plans, private descriptors, signals, progress."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.driver_process import DriverProcess
from rayhpc.launch.election import Role
from rayhpc.launch.missing import describe_missing
from rayhpc.launch.private_fds import close_private, keep_private
from rayhpc.launch.progress import Progress
from rayhpc.launch.rendezvous import Report
from rayhpc.launch.startup import Startup
from rayhpc.machine.signals import Signals


def test_a_private_descriptor_does_not_live_on_in_a_child() -> None:
    read, write = os.pipe()
    keep_private(write)
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go_read, 1)
        os._exit(0)
    close_private(write)
    try:
        # End of file although the child still lives.
        assert os.read(read, 1) == b""
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.write(go_write, b"x")
        os.waitpid(child, 0)
        for descriptor in (read, go_read, go_write):
            os.close(descriptor)


def test_closing_twice_closes_nobody_elses() -> None:
    read, write = os.pipe()
    keep_private(write)
    close_private(write)
    other = os.dup(read)
    close_private(other if other == write else write)
    os.fstat(other)
    os.close(other)
    os.close(read)


def to_this_thread(number: int) -> None:
    """The test runner has threads that do not block signals; `rayhpc run` has none."""
    signal.pthread_kill(threading.get_ident(), number)


def test_signals_tell_who_sent_them() -> None:
    with Signals() as signals:
        to_this_thread(signal.SIGUSR1)
        to_this_thread(signal.SIGTERM)
        found = signals.wait(60.0)
    assert [each.number for each in found] == [signal.SIGUSR1, signal.SIGTERM]
    assert {each.sender for each in found} == {os.getpid()}
    assert not any(each.from_terminal for each in found)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_signal_that_nobody_waited_for_does_not_act_later() -> None:
    with Signals():
        to_this_thread(signal.SIGTERM)


def test_a_signal_while_starting_gives_up() -> None:
    with Signals() as signals:
        startup = Startup(signals, time.monotonic() + 60)
        to_this_thread(signal.SIGTERM)
        with pytest.raises(LaunchError, match="SIGTERM") as caught:
            startup.pause(60.0)
    assert caught.value.code == ExitCode.CANCELLED


# In a process of one thread, as `rayhpc run` is: the test runner's others do not block signals.
DRIVE = """
import os, signal, sys
from rayhpc.launch.driver_process import DriverProcess
from rayhpc.machine.signals import Signals
with Signals() as signals:
    driver = DriverProcess(sys.argv[2:], os.environ)
    if sys.argv[1] != "0":
        driver.send(int(sys.argv[1]))
    while driver.poll() is None:
        signals.wait(1000.0)  # the program's end is to wake it
    sys.exit(driver.poll())
"""


def driven(number: int, *command: str) -> int:
    words = [sys.executable, "-c", DRIVE, str(number), *command]
    return subprocess.run(words, check=False, timeout=60).returncode


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
)
def test_the_programs_exit_code_as_soon_as_it_ends(script: str, code: int) -> None:
    assert driven(0, "sh", "-c", script) == code


def test_the_program_gets_signals_as_from_a_shell() -> None:
    assert driven(signal.SIGTERM, "sleep", "60") == 143


def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(LaunchError, match="no program 'pithon'") as caught:
        DriverProcess(["pithon", "x.py"], os.environ)
    assert caught.value.code == ExitCode.CONFIGURATION


def test_progress_off_a_terminal_is_a_line_at_each_end() -> None:
    stream = io.StringIO()
    progress = Progress(3, stream=stream)
    for count in (0, 1, 2, 3):
        progress.joined(count)
    progress.ready(3, "10.0.0.1:5")
    progress.ended(3, 0, 12.34)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "0 of 3 nodes" in lines[0]
    assert "ready, 3 nodes at 10.0.0.1:5" in lines[1]
    assert "12.3 s" in lines[2]
    assert "exit code 0" in lines[2]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_at_a_terminal_says_who_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayhpc.launch.progress._MISSING_AFTER_S", 0.0)
    monkeypatch.setattr("rayhpc.launch.progress._EVERY_S", 0.0)
    role = Role("7.0.0", 0, 6, 0, 1, 0, 6, ("n0", "n1", "n2", "n3", "n4", "n5"))
    stream = _Terminal()
    progress = Progress(6, stream=stream)
    progress.joined(1, lambda: role.others({0}))
    progress.joined(1, lambda: role.others({0}))
    said = stream.getvalue().split("\r")
    assert len(said) == 3  # it goes on counting seconds
    assert said[1].endswith("waiting for n1, n2, n3 and 2 more")


def test_progress_is_turned_off_by_its_variable() -> None:
    stream = _Terminal()
    progress = Progress(1, rewrites=False, stream=stream)
    progress.joined(0)
    progress.ready(1, "x:1")
    assert "\r" not in stream.getvalue()
    assert "starting" not in stream.getvalue()


def test_quiet_keeps_what_must_be_known() -> None:
    stream = io.StringIO()
    progress = Progress(3, quiet=True, stream=stream)
    progress.joined(1)
    progress.ready(3, "x:1")
    progress.note("node n2 was lost")
    progress.ended(3, 0, 1)
    assert stream.getvalue() == "rayhpc: node n2 was lost\n"


def test_who_is_missing_and_why(tmp_path: Path) -> None:
    (tmp_path / "00002-n2-stderr.log").write_text("one\nsegmentation fault\n")
    role = Role("7.0.0", 0, 3, 0, 1, 0, 3, ("n0", "n1", "n2"))
    reports = {1: Report(rank=1, node=1, host="n1", error="Python 3.9 is not 3.11", code=73)}
    text = describe_missing(role, frozenset(), reports, 3, str(tmp_path))
    assert "0 of 3 nodes joined" in text
    assert "n1: Python 3.9 is not 3.11" in text
    assert "segmentation fault" in text
    assert "--min-nodes" in text
