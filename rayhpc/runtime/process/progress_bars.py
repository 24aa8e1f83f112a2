"""Progress bars at the bottom of the driver's terminal, of the driver itself and of its workers.

Used by `log_printer` (workers' bars arrive as marked lines; other lines go above the bars) and by
`util.progress_bars` and `util.tqdm_ray` (the driver's own).  If stderr is not a terminal, a bar is
printed as a line now and then.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

# The prefix of a worker's line that holds the state of a bar.
MARK = "__rayhpc_bar__:"
REDRAW_S = 0.1
LINE_EVERY_S = 10.0
_BLOCKS = " ▏▎▍▌▋▊▉█"
_CLEAR_BELOW = "\r\x1b[J"


class Bar(msgspec.Struct):
    """The state of one bar; `started` is in seconds since the epoch, `note` is shown at its end."""

    key: str
    text: str
    count: float
    total: float | None
    unit: str
    started: float
    closed: bool = False
    note: str = ""

    def line(self, width: int, now: float) -> str:
        """The bar in `width` columns at time `now`."""
        seconds = max(1e-9, now - self.started)
        rate = self.count / seconds
        head = f"{self.text}: " if self.text else ""
        if not self.total:
            return f"{head}{_number(self.count)}{self.unit} [{_clock(seconds)}]{self.note}"[:width]
        share = min(1.0, self.count / self.total)
        left = (self.total - self.count) / rate if rate else 0.0
        tail = (
            f"| {_number(self.count)}/{_number(self.total)} "
            f"[{_clock(seconds)}<{_clock(left)}, {rate:.4g}{self.unit}/s]{self.note}"
        )
        head += f"{share:4.0%}|"
        room = max(0, min(40, width - len(head) - len(tail) - 1))
        return (head + _filled(share, room) + tail)[:width]


def pack(bar: Bar) -> str:
    """The line a worker prints for its bar."""
    return MARK + msgspec.json.encode(bar).decode()


class Board:
    """All bars of this terminal.  Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._bars: dict[str, Bar] = {}
        self._drawn = 0
        self._next = 0.0
        self._said: dict[str, float] = {}

    def take(self, line: str, prefix: str) -> bool:
        """Whether `line` of a worker is the state of a bar; if so, show it."""
        if not line.startswith(MARK):
            return False
        try:
            bar = msgspec.json.decode(line[len(MARK) :], type=Bar)
        except msgspec.DecodeError:
            return False
        bar.text = f"{prefix}{bar.text}"
        self.show(bar)
        return True

    def show(self, bar: Bar) -> None:
        """Show a bar that has moved, appeared or (`closed`) ended."""
        with self._lock:
            if not sys.stderr.isatty():
                self._say(bar)
                return
            now = time.time()
            if bar.closed:
                self._bars.pop(bar.key, None)
                self._erase()
                _write(bar.line(_width(), now) + "\n")
                self._draw(now)
                return
            is_new = bar.key not in self._bars
            self._bars[bar.key] = bar
            if is_new or now >= self._next:
                self._erase()
                self._draw(now)

    def drop(self, key: str) -> None:
        """Remove a bar silently."""
        with self._lock:
            if self._bars.pop(key, None) is not None:
                self._erase()
                self._draw(time.time())

    @contextmanager
    def above(self) -> Iterator[None]:
        """Print other lines above the bars."""
        if not self._bars:
            yield
            return
        with self._lock:
            self._erase()
            try:
                yield
            finally:
                self._draw(time.time())

    def _draw(self, now: float) -> None:
        width = _width()
        lines = [bar.line(width, now) for bar in self._bars.values()]
        if lines:
            # The cursor returns to the first bar: the program's output pushes the bars down.
            back = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
            _write("\n".join(lines) + back + "\r")
        self._drawn = len(lines)
        self._next = now + REDRAW_S

    def _erase(self) -> None:
        if self._drawn:
            _write(_CLEAR_BELOW)
            self._drawn = 0

    def _say(self, bar: Bar) -> None:
        """Without a terminal: print a line now and then, and at the end."""
        now = time.time()
        last = self._said.setdefault(bar.key, bar.started)
        if bar.closed:
            self._said.pop(bar.key)
        elif now - last < LINE_EVERY_S:
            return
        else:
            self._said[bar.key] = now
        _write(bar.line(200, now) + "\n")


board = Board()


def _width() -> int:
    return shutil.get_terminal_size().columns


def _filled(share: float, room: int) -> str:
    eighths = int(share * room * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BLOCKS[rest] if full < room else "")).ljust(room)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.4g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # the terminal is gone, or closed by the program
        return
