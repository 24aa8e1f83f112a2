"""Reaping a child: at once when it has ended, in time when it does not, with pidfds and without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.machine import processes
from tests.launch.processes import until


@pytest.fixture(params=["pidfd", "old kernel"])
def child(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that lives until its input ends."""
    if request.param == "old kernel":
        monkeypatch.setattr(processes, "open_pidfd", lambda pid: None)
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield made
    assert made.stdin is not None
    made.stdin.close()
    made.kill()
    made.wait()


def test_a_child_that_ends_is_reaped(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    assert processes.reap_child(child.pid, 10.0)
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def test_one_that_lives_on_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    assert not processes.reap_child(child.pid, 0.05)
    assert time.monotonic() - began >= 0.05
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)


def test_one_that_somebody_has_reaped_is_gone(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    assert processes.reap_child(child.pid, 10.0)


# Its first thread ends, the other one when its input does.
TWO_THREADS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_has_ended_with_the_last_of_its_threads() -> None:
    with subprocess.Popen([sys.executable, "-c", TWO_THREADS], stdin=subprocess.PIPE) as made:
        started = processes.start_time(made.pid)
        assert started is not None
        until(lambda: Path(f"/proc/{made.pid}/stat").read_text().split()[2] == "Z")
        assert processes.is_same_process(made.pid, started)
        assert made.stdin is not None
        made.stdin.close()
        until(lambda: not processes.is_same_process(made.pid, started))
