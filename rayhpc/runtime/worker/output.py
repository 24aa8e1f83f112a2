"""A worker's stdout and stderr: whole lines, each known by the task or actor that printed it.

Used by `worker` when it starts, and by `outbox` before results go out.  The raylet reads the pipes
(`raylet.logs`); a line of its own, which nobody is shown, tells it whose the next ones are.  What
ends without a newline goes out after a moment of quiet, and before the result of what printed it.
In a child that the user's code forks the streams go on, under the parent's name.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from typing import Any

from rayhpc.runtime.process import current
from rayhpc.runtime.process.context import running
from rayhpc.wire.messages.leases import NAME_MARK

# So long after the last write the beginning of a line goes out without its end.
QUIET_S = 0.2


class NamedOutput(io.TextIOWrapper):
    """A text stream that says who prints, whenever that changes."""

    _name: str | None = None
    _at_start = True
    _written = 0.0

    def write(self, text: str) -> int:
        """Write text, after the name of the task or actor that runs if it is another one."""
        if text:
            name = _shown_name()
            if name is not None and name != self._name:
                self._name = name
                super().write(f"{'' if self._at_start else chr(10)}{NAME_MARK}{name}\n")
            self._at_start = text[-1] == "\n"
            if not self._at_start:
                self._written = time.monotonic()
                _flusher.note(self)
        return super().write(text)

    def is_quiet(self) -> bool:
        """Whether nothing was written for a moment."""
        return time.monotonic() - self._written >= QUIET_S


class _Flusher:
    """Sends out lines that have begun and do not end; has a thread once there is one."""

    def __init__(self) -> None:
        self._begun: dict[NamedOutput, None] = {}
        self._something = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, stream: NamedOutput) -> None:
        """A stream has the beginning of a line (any thread)."""
        if stream in self._begun:
            return
        self._begun[stream] = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rayhpc-output", daemon=True)
            self._thread.start()
        self._something.set()

    def flush(self) -> None:
        """Send out everything."""
        while self._begun:
            self._begun.popitem()[0].flush()

    def after_fork(self) -> None:
        """In a child: its thread has not come along, nor may who held a lock."""
        self.__init__()  # type: ignore[misc]

    def _run(self) -> None:
        while self._something.wait():
            self._something.clear()
            while self._begun:
                time.sleep(QUIET_S)
                for stream in [x for x in list(self._begun) if x.is_quiet()]:
                    self._begun.pop(stream, None)
                    stream.flush()


_flusher = _Flusher()
os.register_at_fork(after_in_child=_flusher.after_fork)


def flush_begun_lines() -> None:
    """Send out what was printed without a newline."""
    if _flusher._begun:
        _flusher.flush()


def name_lines() -> None:
    """Have this process's streams say who prints, line by line."""
    sys.stdout = _named(sys.stdout)
    sys.stderr = _named(sys.stderr)


def _named(stream: Any) -> NamedOutput:
    stream.flush()
    # Line by line: what was printed must not be lost with the process.
    return NamedOutput(
        open(stream.fileno(), "wb", closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _shown_name() -> str | None:
    """The function's or class's name, or how the actor shows itself; None: no user code runs."""
    context = running.get()
    if context is None:
        return None
    if not context.actor:
        return context.name.rpartition("<locals>.")[2]
    client = current.even_if_forked()
    title = client.title() if client is not None else ""
    return title or context.name.rpartition(".")[0] or context.name
