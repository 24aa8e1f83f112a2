"""The line at the foot of a terminal, and silence everywhere else."""

from __future__ import annotations

import io
import sys

import pytest

from rayhpc.batch import terminal


class Screen:
    """Standard error, at a terminal or not."""

    def __init__(self, is_terminal: bool) -> None:
        self.buffer = io.BytesIO()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        return


@pytest.mark.parametrize(
    ("is_terminal", "environ", "is_shown"),
    [
        (True, {}, True),
        (True, {"RAYHPC_PROGRESS": "0"}, False),
        (False, {}, False),
    ],
)
def test_the_line_is_shown_at_a_terminal_unless_it_is_turned_off(
    is_terminal: bool, environ: dict[str, str], is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    show = terminal.line_for(environ)
    show("job 7 is pending: Priority")
    show("")
    said = screen.buffer.getvalue().decode()
    assert ("job 7 is pending: Priority" in said) == is_shown
    assert said.endswith("\r\x1b[K" if is_shown else "")
