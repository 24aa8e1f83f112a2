"""An error in a handler is noted, and ends nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rayhpc.wire.guard import Guard


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("not even that")


def fail(text: str) -> None:
    raise KeyError(text)


@pytest.mark.parametrize(
    ("what", "words"),
    [("what is due", "what is due"), (b"x" * 5000, "5,003"), (Unspeakable(), "cannot be shown")],
)
def test_an_error_is_counted_and_logged_with_its_cause(
    what: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(logging.getLogger("rayhpc.test"))
    assert guard.run("nothing", lambda: None) is None
    assert isinstance(guard.run(what, fail, "this"), KeyError)
    assert guard.count == 1
    assert "KeyError: 'this'" in guard.last
    assert words in caplog.text
    assert "Traceback" in caplog.text


def test_what_is_to_end_the_process_does() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        Guard(logging.getLogger("rayhpc.test")).run("leaving", leave)
