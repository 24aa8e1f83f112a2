"""Each process of a cluster is killed while a program waits in every way there is.

Nobody waits on: what cannot go on says within seconds what has happened, everything else goes on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.ends.scene import Scene

Start = Callable[..., Scene]

# Ways to wait for a task or call that runs; the others go on when only a worker dies.
SINGLE = ("get", "get with a timeout", "actor call", "await", "future", "generator")


@pytest.mark.parametrize(
    ("victim", "error", "word"),
    [
        ("raylet", "LocalRayletDiedError", "raylet"),
        ("head", "RaySystemError", "head"),
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

