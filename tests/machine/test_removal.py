"""A session's directory goes with its record last, whatever cuts the removal short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayhpc.machine.removal import RECORD, remove_session


class Killed(BaseException):
    """The end of the process that removes."""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "0123abcd.456789"
    (path / "logs").mkdir(parents=True)
    (path / "logs" / "node.log").touch()
    for name in (RECORD, "lock", "raylet.sock", f".{RECORD}.7"):
        (path / name).touch()
    return path


@pytest.mark.parametrize("steps", range(8))
def test_what_is_left_has_its_record(
    session: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    unlink, left = os.unlink, iter(range(steps))

    def until_killed(path: str, *, dir_fd: int | None = None) -> None:
        if next(left, None) is None:
            raise Killed
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", until_killed)
        try:
            remove_session(str(session))
        except Killed:
            assert (session / RECORD).exists()
        else:
            assert steps >= 5
    remove_session(str(session))
    assert not session.exists()


def test_one_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_session(str(tmp_path / "gone"))
