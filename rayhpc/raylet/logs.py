"""Workers' output: read from their pipes, cut into lines, delivered.

Used by `main`, whose loop says which pipe is readable.  Lines go to the job's driver (`LogLines`)
and to the node's log file, which is rotated.  What a worker printed before its end is read before
its end is reported.  A line is cut if it gets too long, or does not continue for a moment; a
progress bar that redraws itself with carriage returns becomes at most one line a second.
"""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rayhpc.wire.messages.leases import NAME_MARK
from rayhpc.wire.messages.looking import LogPiece

LINE_MAX = 64 * 1024
READ_BYTES = 64 * 1024
DRAIN_READS = 16
PROGRESS_EVERY_S = 1.0
# An unfinished line is delivered when nothing has come for this long.
QUIET_S = 0.3
LOG_FILE_BYTES = 32 * 1024 * 1024

Deliver = Callable[[int, str, bool, list[str]], None]


class Lines:
    """Splits one stream into lines.

    Args:
        now: the time in seconds, monotonic.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._rest = b""
        self._shown_at = float("-inf")
        self._fed_at = float("-inf")
        # The beginning of the current line has already been delivered.
        self._cut = False

    def deadline(self) -> float | None:
        """When the unfinished line is to be treated as complete; None: there is none."""
        return self._fed_at + QUIET_S if self._rest else None

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now."""
        self._fed_at = self._now()
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._cut and whole:
            self._cut = False
            whole = whole[whole[0] in (b"", b"\r") :]  # all of that line has been delivered
        lines = [_last_drawn(x) for x in whole]
        if b"\r" in self._rest.rstrip(b"\r"):
            drawn = self._rest.rstrip(b"\r")
            self._rest = drawn[drawn.rindex(b"\r") + 1 :] + self._rest[len(drawn) :]
            if self._now() - self._shown_at >= PROGRESS_EVERY_S:
                self._shown_at = self._now()
                lines.append(_last_drawn(drawn))
        if len(self._rest) > LINE_MAX:
            lines.append(_text(self._rest))
            self._rest = b""
        return lines

    def end(self) -> list[str]:
        """What remains when the stream has ended, or the line does not continue."""
        rest, self._rest = self._rest, b""
        self._cut = bool(rest)
        return [_last_drawn(rest)] if rest else []


@dataclass(eq=False)
class Stream:
    """One of a worker's two streams; `name` is what the worker last said it was running."""

    number: int
    descriptor: int
    is_error: bool
    lines: Lines
    name: str = ""


@dataclass
class Logs:
    """The streams of all workers.

    Args:
        deliver: called with worker number, name, whether it is stderr, and lines.
        now: the time in seconds, monotonic.
    """

    deliver: Deliver
    now: Callable[[], float]
    streams: dict[int, Stream] = field(default_factory=dict)
    _begun: dict[Stream, None] = field(default_factory=dict)

    def add(self, number: int, out: int, error: int) -> list[int]:
        """Add a new worker's pipes; returns the descriptors to poll."""
        for descriptor, is_error in ((out, False), (error, True)):
            os.set_blocking(descriptor, False)
            self.streams[descriptor] = Stream(number, descriptor, is_error, Lines(self.now))
        return [out, error]

    def read(self, descriptor: int) -> bool:
        """Read once from a pipe; False: it has ended and is closed."""
        stream = self.streams.get(descriptor)
        if stream is None:
            return False
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return True
        self._deliver(stream, stream.lines.feed(data) if data else stream.lines.end())
        if not data:
            self._close(stream)
        return bool(data)

    def drain(self, number: int) -> None:
        """A worker has ended: deliver everything it printed and drop its pipes."""
        for stream in self._of(number):
            self._read_waiting(stream)
            self._deliver(stream, stream.lines.end())
            self._close(stream)

    def read_waiting(self, number: int) -> None:
        """Deliver what a worker has printed by now: its driver is about to leave."""
        for stream in self._of(number):
            self._read_waiting(stream)
            self._deliver(stream, stream.lines.end())

    def deadline(self) -> float | None:
        """When `on_time` has something to do; None: not before there is output."""
        times = (stream.lines.deadline() for stream in self._begun)
        return min((x for x in times if x is not None), default=None)

    def on_time(self) -> None:
        """Deliver unfinished lines that do not continue."""
        now = self.now()
        for stream in list(self._begun):
            due = stream.lines.deadline()
            if due is None or due <= now:
                del self._begun[stream]
                self._deliver(stream, stream.lines.end())

    def close(self) -> None:
        """Deliver everything, and drop all pipes."""
        for number in {x.number for x in self.streams.values()}:
            self.drain(number)

    def _of(self, number: int) -> list[Stream]:
        return [x for x in self.streams.values() if x.number == number]

    def _read_waiting(self, stream: Stream) -> None:
        # A pipe holds no more than this; anything later was printed later, or by someone else:
        # a process that a worker started may still hold its pipe open.
        for _ in range(DRAIN_READS):
            try:
                data = os.read(stream.descriptor, READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                break
            self._deliver(stream, stream.lines.feed(data))

    def _deliver(self, stream: Stream, lines: list[str]) -> None:
        if stream.lines.deadline() is not None:
            self._begun[stream] = None
        shown: list[str] = []
        for line in lines:
            if line.startswith(NAME_MARK):
                if shown:
                    self.deliver(stream.number, stream.name, stream.is_error, shown)
                    shown = []
                stream.name = line[len(NAME_MARK) :]
            else:
                shown.append(line)
        if shown:
            self.deliver(stream.number, stream.name, stream.is_error, shown)

    def _close(self, stream: Stream) -> None:
        del self.streams[stream.descriptor]
        self._begun.pop(stream, None)
        os.close(stream.descriptor)


class LogFile(logging.Handler):
    """The node's log file: workers' output and the raylet's own messages.

    Args:
        path: the file; its predecessor is kept as `<path>.1`.
        limit: the size in bytes at which a new file is started.
    """

    def __init__(self, path: str, limit: int = LOG_FILE_BYTES) -> None:
        super().__init__()
        self._path = path
        self._limit = limit
        self._file = _append_to(path)
        self._size = os.fstat(self._file.fileno()).st_size

    def write(self, origin: str, lines: Iterable[str]) -> None:
        """Append lines from `origin`; a full disk loses them rather than the node."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        text = "".join(f"{stamp} {origin} {line}\n" for line in lines)
        data = text.encode(errors="backslashreplace")
        try:
            self._file.write(data)
            self._size += len(data)
            if self._size > self._limit:
                self._rotate()
        except OSError:
            return

    def read(self, start: int, size: int) -> LogPiece:
        """So many bytes from `start` on, or the last ones if it is below 0."""
        begin = max(0, self._size - size) if start < 0 else start
        try:
            data = os.pread(self._file.fileno(), size, begin)
        except OSError:
            data = b""
        return LogPiece(begin, self._size, data)

    def emit(self, record: logging.LogRecord) -> None:
        """A message from the raylet itself."""
        self.write(f"raylet {record.levelname}", self.format(record).splitlines())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _rotate(self) -> None:
        self._file.close()
        os.replace(self._path, self._path + ".1")
        self._file = _append_to(self._path)
        self._size = 0


def _append_to(path: str) -> io.FileIO:
    return open(path, "ab+", buffering=0)


def _last_drawn(line: bytes) -> str:
    """A line as a terminal would finally show it: after its last carriage return."""
    line = line.rstrip(b"\r")
    return _text(line[line.rfind(b"\r") + 1 :])


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace")
