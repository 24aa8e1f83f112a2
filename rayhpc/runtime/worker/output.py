"""A worker's stdout and stderr: whole lines, each attributed to the task or actor that printed it.

Used by `worker` when it starts, and by `outbox` before results are sent.  The raylet reads the
pipes (`raylet.logs`); a marker line, which nobody is shown, tells it whose the next lines are.
Output without a trailing newline is sent after a moment of quiet, and before the result of its
task. In a child forked by user code the streams continue, under the parent's name.
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

# This long after the last write, an unfinished line is sent.
QUIET_S = 0.2


class NamedOutput(io.TextIOWrapper):
    """A text stream that reports whose output follows whenever that changes."""

    _name: str | None = None
    _at_start = True
    _written = 0.0

    def write(self, text: str) -> int:
        """Write text, preceded by the name of the running task or actor if it has changed."""
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
        """Whether nothing has been written for a moment."""
        return time.monotonic() - self._written >= QUIET_S


class _Flusher:
    """Sends unfinished lines; starts a thread once there is one."""

    def __init__(self) -> None:
        self._begun: dict[NamedOutput, None] = {}
        self._something = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, stream: NamedOutput) -> None:
        """A stream has an unfinished line (any thread)."""
        if stream in self._begun:
            return
        self._begun[stream] = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rayhpc-output", daemon=True)
            self._thread.start()
        self._something.set()

    def flush(self) -> None:
        """Send everything."""
        while self._begun:
            self._begun.popitem()[0].flush()

    def after_fork(self) -> None:
        """In a child: the flusher thread is not there, nor may be the holder of a lock."""
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
    """Send what was printed without a newline."""
    if _flusher._begun:
        _flusher.flush()


def name_lines() -> None:
    """Make this process's streams report whose output it is, line by line."""
    sys.stdout = _named(sys.stdout)
    sys.stderr = _named(sys.stderr)


def _named(stream: Any) -> NamedOutput:
    stream.flush()
    # Line by line: output must not be lost with the process.
    return NamedOutput(
        open(stream.fileno(), "wb", closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _shown_name() -> str | None:
    """The function's or class's name, or the actor's repr; None: no user code is running."""
    context = running.get()
    if context is None:
        return None
    if not context.actor:
        return context.name.rpartition("<locals>.")[2]
    client = current.even_if_forked()
    title = client.title() if client is not None else ""
    return title or context.name.rpartition(".")[0] or context.name
