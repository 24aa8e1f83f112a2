"""Writes the program's output to the user's terminal, byte for byte.

Used wherever output written elsewhere is shown.
"""

from __future__ import annotations

import os
import sys


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


def nowhere(stream: str, data: bytes) -> None:
    """Replaces `emit` for callers that only wait."""
