"""Every end of a program with a cluster of its own: nothing is left; its exit code is its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rayhpc.launch import leftovers
from rayhpc.machine import scratch
from tests.ends.scene import Scene
from tests.launch.processes import left_of, lose_power

Start = Callable[..., Scene]


@pytest.mark.parametrize(
    ("how", "code"), [("return", 0), ("exit", 3), ("exception", 1), ("_exit", 4)]
)
def test_the_program_ends_by_itself(scene: Start, how: str, code: int) -> None:
    made = scene(how)
    made.go()
    assert made.ends() == code
    assert made.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_foreground_group(scene: Start, number: signal.Signals) -> None:
    made = scene("main-get")
    os.killpg(made.program.pid, number)
    assert made.ends() == -number
    assert made.left() == []


def test_the_driver_is_killed(scene: Start) -> None:
    made = scene("main-get")
    made.program.kill()
    assert made.ends() == -signal.SIGKILL
    assert made.left() == []


def test_the_whole_group_is_killed(scene: Start) -> None:
    """As YARN kills a container: what the workers have started is in groups of its own."""
    made = scene("main-get")
    os.killpg(made.program.pid, signal.SIGKILL)
    assert made.ends() == -signal.SIGKILL
    assert made.left() == []


def test_everything_is_killed_at_once(scene: Start, base: Path) -> None:
    made = scene("main-get")
    killed = lose_power(made.known)
    made.ends()
    assert left_of(killed) == []
    for path in made.sessions.iterdir():  # nobody could remove it: the user's next command does
        assert path.stat().st_mode & 0o777 == 0o700
    leftovers.sweep({scratch.VARIABLE: str(base)})
    assert made.left() == []
