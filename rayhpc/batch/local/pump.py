"""Runs the nodes of a local job from their start until the last one's end.

Used by `local`.  Copies the program's output to the terminal and to the job's folder, forwards
signals to rank 0, and leaves no process behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from rayhpc.batch.terminal import emit
from rayhpc.exit_codes import exit_code_of
from rayhpc.machine.signals import Signals

# How long the other nodes may take to notice that rank 0 has ended, and then to obey SIGTERM.
_FAREWELL_S = 10.0
# Nobody has told them if rank 0 was killed; most learn it from its cluster's silence.
_FAREWELL_IF_KILLED_S = 2.0
_TERM_S = 5.0
_PAUSE_S = 0.5
_BYTES = 1 << 16


@dataclass
class Node:
    """One rank."""

    rank: int
    process: subprocess.Popen[bytes]


@dataclass
class _Stream:
    name: str
    source: int
    target: int


@dataclass
class LocalNodes:
    """All ranks of one job, rank 0 first; its output also goes to `stdout` and `stderr`."""

    stdout: Path
    stderr: Path
    _nodes: list[Node] = field(default_factory=list)
    _streams: list[_Stream] = field(default_factory=list)
    _interrupts: int = 0

    def add(self, node: Node) -> None:
        """Manage one more rank."""
        self._nodes.append(node)
        for name, path in (("stdout", self.stdout), ("stderr", self.stderr)):
            pipe = getattr(node.process, name)
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self._streams.append(_Stream(name, pipe.fileno(), target))

    def to_the_end(self) -> int:
        """Wait for all of them; returns rank 0's exit code as a shell reports it."""
        first = self._nodes[0].process
        with Signals() as signals:
            try:
                while first.poll() is None:
                    self._turn(signals, None)
                killed = first.returncode < 0
                patience = _FAREWELL_IF_KILLED_S if killed else _FAREWELL_S
                deadline = time.monotonic() + patience
                while self._left() and time.monotonic() < deadline:
                    self._turn(signals, _PAUSE_S)
            finally:
                self.stop()
        return exit_code_of(first.returncode)

    def stop(self) -> None:
        """End the remaining ones: SIGTERM, then SIGKILL."""
        deadline = time.monotonic() + _TERM_S
        for process in self._left():
            process.terminate()
        for process in self._left():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._copy()
        for stream in self._streams:
            os.close(stream.target)
        self._streams.clear()

    def _turn(self, signals: Signals, timeout_s: float | None) -> None:
        for arrival in signals.wait(timeout_s, *(stream.source for stream in self._streams)):
            self._pass_on(arrival.number)
        self._copy()

    def _pass_on(self, number: int) -> None:
        """Ctrl-C interrupts the program; a second one ends the job, a third one at once."""
        process = self._nodes[0].process
        if process.poll() is not None:
            return
        if number == signal.SIGINT:
            self._interrupts += 1
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[min(self._interrupts, 3) - 1]
        process.send_signal(number)

    def _left(self) -> list[subprocess.Popen[bytes]]:
        return [node.process for node in self._nodes if node.process.poll() is None]

    def _copy(self) -> None:
        """Copy whatever rank 0 has written by now."""
        for stream in list(self._streams):
            while True:
                try:
                    data = os.read(stream.source, _BYTES)
                except BlockingIOError:
                    break
                if not data:
                    os.close(stream.target)
                    self._streams.remove(stream)
                    break
                os.write(stream.target, data)
                emit(stream.name, data)
