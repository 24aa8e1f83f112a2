"""Writes the program's output to the user's terminal, byte for byte.

Used wherever output written elsewhere is shown.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping


def emit(stream: str, data: bytes) -> None:
    """Write to our own `stdout` or `stderr`; does nothing if nobody reads it any more."""
    target = sys.stderr if stream == "stderr" else sys.stdout
    try:
        target.buffer.write(data)
        target.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target.fileno())
        os.close(nowhere)


class Line:
    """A line at the foot of a terminal that is rewritten until it is cleared."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, text: str) -> None:
        """Show it in place of what it said; an empty one clears it."""
        if not text and not self._is_shown:
            return
        self._is_shown = bool(text)
        width = shutil.get_terminal_size().columns
        emit("stderr", f"\r\x1b[K{text[: width - 1]}".encode())


def line_for(environ: Mapping[str, str]) -> Callable[[str], None]:
    """What shows a line, where standard error is a terminal and RAYHPC_PROGRESS is not 0."""
    if environ.get("RAYHPC_PROGRESS") == "0" or not sys.stderr.isatty():
        return lambda text: None
    return Line().show


def nowhere(stream: str, data: bytes) -> None:
    """Replaces `emit` for callers that only wait."""
