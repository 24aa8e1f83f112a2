"""Prints workers' output on the driver's terminal: prefixed, repeated lines folded.

Used by `driver`, from the leading thread.  `RAYHPC_DEDUP_LOGS=0` (or `RAY_DEDUP_LOGS=0`) prints
every line.
"""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TextIO

from rayhpc.runtime.process.progress_bars import board
from rayhpc.wire.messages.leases import LogLines

FOLD_S = 5.0
_COLOURS = (36, 35, 34, 33, 32)
_NUMBERS = re.compile(r"\d+")


class _Folded:
    """A line that more than one worker has printed recently."""

    __slots__ = ("count", "first", "line", "pids", "prefix", "until")

    def __init__(self, prefix: str, line: str, pid: int, now: float) -> None:
        self.prefix = prefix
        self.line = line
        self.first = pid
        self.pids = {pid}
        self.count = 0
        self.until = now + FOLD_S


class LogPrinter:
    """Writes workers' lines to the driver's stdout and stderr.

    Args:
        is_plain: write every line as it is: programs read them.
    """

    def __init__(self, is_plain: bool = False) -> None:
        self._is_plain = is_plain
        self._fold = not is_plain and "0" not in (
            os.environ.get("RAYHPC_DEDUP_LOGS", "1"),
            os.environ.get("RAY_DEDUP_LOGS", "1"),
        )
        self._seen: dict[str, _Folded] = {}
        self._told = False

    def print(self, message: LogLines) -> None:
        """Print lines of one worker, or fold them into those of others."""
        out = sys.stderr if message.error else sys.stdout
        prefix = "" if self._is_plain else _prefix(message, out)
        now = time.monotonic()
        lines = [x for x in message.lines if not board.take(x, f"{message.name} {message.pid} ")]
        with board.above():
            self._expire(now)
            for line in lines:
                if not self._fold or not line.strip() or self._is_new(prefix, line, message, now):
                    _write(out, f"{prefix}{line}\n")
            _flush(out)

    def flush(self) -> None:
        """Report what was folded."""
        with board.above():
            self._expire(float("inf"))

    def _is_new(self, prefix: str, line: str, message: LogLines, now: float) -> bool:
        key = _NUMBERS.sub("#", line)
        found = self._seen.get(key)
        if found is None:
            self._seen[key] = _Folded(prefix, line, message.pid, now)
            return True
        if message.pid == found.first and len(found.pids) == 1:
            return True
        found.pids.add(message.pid)
        found.count += 1
        found.prefix = prefix
        found.line = line
        return False

    def _expire(self, now: float) -> None:
        for key in [k for k, x in self._seen.items() if x.until <= now]:
            folded = self._seen.pop(key)
            if not folded.count:
                continue
            hint = "" if self._told else "; RAYHPC_DEDUP_LOGS=0 shows every line"
            self._told = True
            _write(
                sys.stdout,
                f"{folded.prefix}{folded.line} [repeated {folded.count}x across cluster{hint}]\n",
            )
            _flush(sys.stdout)


def _prefix(message: LogLines, out: TextIO) -> str:
    text = f"({message.name} pid={message.pid}, ip={message.ip})"
    if not out.isatty():
        return text + " "
    return f"\033[{_COLOURS[message.pid % len(_COLOURS)]}m{text}\033[0m "


def _write(out: TextIO, text: str) -> None:
    try:
        out.write(text)
    except (OSError, ValueError):  # the terminal is gone, or the program has closed it
        return


def _flush(out: TextIO) -> None:
    try:
        out.flush()
    except (OSError, ValueError):
        return
