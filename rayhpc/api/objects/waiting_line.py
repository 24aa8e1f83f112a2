"""The one line at a terminal while `get` or `wait` of the driver takes longer than two seconds.

Enabled by `init` where standard error is a terminal or the program a notebook, unless
`RAYHPC_PROGRESS` is 0.  A waiting thread only notes what it waits for; a thread beside it looks, so
that waiting itself is as fast as ever.  Elsewhere (files, pipes, workers) nothing of it exists.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rayhpc.api.objects.notebook_line import NotebookDisplay
from rayhpc.runtime.process import current
from rayhpc.runtime.process.progress_bars import Bar, board
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.messages.cluster import ClusterUsage
from rayhpc.wire.messages.listings import ClusterState

VARIABLE = "RAYHPC_PROGRESS"
AFTER_S = 2.0
_EVERY_S = 0.5
_ASK_EVERY_S = 2.0
# Looking takes at most this part of the time.
_PART = 0.05


class Display(Protocol):
    """Where the line is shown."""

    def show(self, bar: Bar) -> None:
        """Show the line as it is now."""

    def drop(self, key: str) -> None:
        """Take it away."""


class _Waited:
    """What one thread waits for; looked at only when it is to be shown."""

    __slots__ = ("_left", "_things", "began")

    def __init__(self, things: Iterable[Any], began: float) -> None:
        self.began = began
        self._things = things
        self._left: list[Any] | None = None

    def done(self) -> tuple[int, int]:
        """How many of the references are there, and how many there are in all."""
        known = current.client().known
        refs = [x for x in self._things if isinstance(x, ObjectRef)]
        left = refs if self._left is None else self._left
        self._left = [x for x in left if not known(x).is_there]
        return len(refs) - len(self._left), len(refs)


class WaitingLine:
    """The line, and the thread that draws it.

    Args:
        display: where it is shown.
        reason: why something waits, in words; empty: nobody says.
        after_s: how long a wait is before it is shown, in seconds.
        every_s: how often it is drawn, in seconds.
    """

    def __init__(
        self,
        display: Display,
        reason: Callable[[], str],
        after_s: float = AFTER_S,
        every_s: float = _EVERY_S,
    ) -> None:
        self._display = display
        self._reason = reason
        self._after = after_s
        self._every = every_s
        self._waits: dict[int, _Waited] = {}
        self._news = threading.Event()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._shown: _Waited | None = None
        self._thread = threading.Thread(target=self._draw, name="rayhpc-waiting-line", daemon=True)
        self._thread.start()

    @contextmanager
    def waits_for(self, things: Iterable[Any]) -> Iterator[None]:
        """The calling thread waits for these."""
        me = threading.get_ident()
        waited = self._waits[me] = _Waited(things, time.time())
        self._news.set()
        try:
            yield
        finally:
            self._waits.pop(me, None)
            if self._shown is waited:
                self._take_away(waited)

    def close(self) -> None:
        """End the thread."""
        self._is_over.set()
        self._news.set()

    def _draw(self) -> None:
        pause = self._every
        asked, reason = 0.0, ""
        while not self._is_over.wait(pause):
            waited = min(self._waits.copy().values(), key=lambda x: x.began, default=None)
            if waited is None:
                self._news.clear()
                # One that began meanwhile has set it again, or will.
                if not self._waits:
                    self._news.wait()
                continue
            now = time.time()
            if now - waited.began < self._after:
                pause = self._every
                continue
            try:
                if now - asked >= _ASK_EVERY_S:
                    asked, reason = now, self._reason()
                bar = _bar(waited, reason)
            except Exception:  # the cluster ends: whoever waits is told
                continue
            self._show(waited, bar)
            pause = max(self._every, (time.time() - now) / _PART)

    def _show(self, waited: _Waited, bar: Bar) -> None:
        with self._lock:
            if waited in self._waits.copy().values():
                self._shown = waited
                self._display.show(bar)

    def _take_away(self, waited: _Waited) -> None:
        with self._lock:
            self._shown = None
            self._display.drop(_key(waited))


def enable(environ: Mapping[str, str]) -> None:
    """Have the line shown from now on, where somebody can see it."""
    global _line
    if _line is not None or environ.get(VARIABLE) == "0":
        return
    if _is_notebook():
        _line = WaitingLine(NotebookDisplay(), _why)
    elif sys.stderr is not None and sys.stderr.isatty():
        _line = WaitingLine(board, _why)


def disable() -> None:
    """No line any more."""
    global _line
    if _line is not None:
        _line.close()
        _line = None


def line() -> WaitingLine | None:
    """The line; None: nobody would see it."""
    return _line


_line: WaitingLine | None = None
if hasattr(os, "register_at_fork"):
    # The thread is the parent's.
    os.register_at_fork(after_in_child=lambda: globals().update(_line=None))


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _key(waited: _Waited) -> str:
    return f"waiting-{id(waited)}"


def _bar(waited: _Waited, reason: str) -> Bar:
    done, total = waited.done()
    note = f"  {reason}" if reason else ""
    return Bar(_key(waited), "waiting", done, total or None, "", waited.began, note=note)


def _why() -> str:
    """What waits in the cluster, and why."""
    state: ClusterState = current.client().ask_head(ClusterUsage(), ClusterState, 2.0)
    return "; ".join(f"{count} pending: {reason}" for _, count, reason in state.demand[:2])
