"""Each process of a cluster is killed while a program waits in every way there is.

Nobody waits on: what cannot go on says within seconds what has happened, everything else goes on.
The head is no such process: it comes back (`test_head_returns`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.ends.scene import Scene

Start = Callable[..., Scene]


@pytest.mark.parametrize(
    ("victim", "error", "word"),
    [
        ("raylet", "LocalRayletDiedError", "raylet"),
        ("server", "RaySystemError", "fork server"),
    ],
)
def test_what_all_depend_on_is_killed(scene: Start, victim: str, error: str, word: str) -> None:
    made = scene("wait")
    os.kill(getattr(made, victim), signal.SIGKILL)
    errors = made.errors()
    assert [f"{way}: {text}" for way, text in errors.items() if not text.startswith(error)] == []
    assert [f"{way}: {text}" for way, text in errors.items() if word not in text] == []
    assert made.ends() == 0
    assert made.left() == []


def test_one_actor_is_killed(scene: Start) -> None:
    """Only the calls to it fail; the program waits on for the rest until its cluster ends."""
    made = scene("wait")
    os.kill(made.actor, signal.SIGKILL)
    first = made.line()
    assert first.startswith("actor call: ActorDiedError")
    assert "SIGKILL" in first
    os.kill(made.raylet, signal.SIGKILL)
    assert all("raylet" in text for way, text in made.errors().items() if way != "actor call")
    assert made.left() == []


def test_a_template_is_killed(scene: Start) -> None:
    """What was forked from it ends with it, nothing else does."""
    made = scene("wait")
    os.kill(made.template, signal.SIGKILL)
    assert made.line().startswith("actor call: ActorDiedError")
    os.kill(made.raylet, signal.SIGKILL)
    assert all("raylet" in text for way, text in made.errors().items() if way != "actor call")
    assert made.left() == []
