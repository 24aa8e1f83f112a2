"""Messages on standard error while a cluster starts, and when it has ended.

Used by `run`.  On a terminal, one line that is rewritten, unless RAYHPC_PROGRESS is 0; otherwise
one line at the start and one when all is ready.  Never writes to standard output, which is the
program's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rayhpc.exit_codes import in_words

_CLEAR = "\r\x1b[K"
# Who is missing is said after a while, with as many names as a line has room for.
_MISSING_AFTER_S = 2.0
_MOST_NAMES = 3
_EVERY_S = 1.0


class Progress:
    """One cluster's progress from its first node to its end.

    Args:
        nodes: how many nodes are expected.
        quiet: print only errors.
        rewrites: whether to rewrite one line, on a terminal.
        stream: where to write; None: standard error.
    """

    def __init__(
        self,
        nodes: int,
        *,
        quiet: bool = False,
        rewrites: bool = True,
        stream: TextIO | None = None,
    ) -> None:
        self._nodes = nodes
        self._quiet = quiet
        self._stream = sys.stderr if stream is None else stream
        self._rewrites = rewrites and self._stream.isatty()
        self._started = time.monotonic()
        self._shown = -1
        self._shown_at = 0.0

    def joined(self, count: int, missing: Callable[[], Sequence[str]] = tuple) -> None:
        """This many nodes have joined; `missing` names the others."""
        is_old = self._rewrites and time.monotonic() - self._shown_at >= _EVERY_S
        if self._quiet or (count == self._shown and not is_old):
            return
        first = self._shown < 0
        self._shown, self._shown_at = count, time.monotonic()
        text = f"rayhpc: starting, {count} of {self._nodes} nodes joined ({self._age()})"
        if self._rewrites:
            self._write(_CLEAR + text + self._waits_for(missing))
        elif first and self._nodes > 1:
            self._write(text + "\n")

    def ready(self, count: int, address: str) -> None:
        """The cluster is ready for use."""
        if not self._quiet:
            nodes = f"{count} of {self._nodes} nodes" if count != self._nodes else _nodes(count)
            self._write(self._clear() + f"rayhpc: ready, {nodes} at {address} ({self._age()})\n")

    def note(self, text: str) -> None:
        """Something the user should know."""
        self._write(self._clear() + f"rayhpc: {text}\n")

    def ended(self, nodes: int, code: int, seconds: float) -> None:
        """The cluster has ended: one line that sums it up."""
        if not self._quiet:
            self._write(f"rayhpc: {_nodes(nodes)}, {seconds:.1f} s, {in_words(code)}\n")

    def _waits_for(self, missing: Callable[[], Sequence[str]]) -> str:
        if time.monotonic() - self._started < _MISSING_AFTER_S or not (names := missing()):
            return ""
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        return f", waiting for {', '.join(names[:_MOST_NAMES])}{more}"

    def _age(self) -> str:
        return f"{time.monotonic() - self._started:.1f} s"

    def _clear(self) -> str:
        return _CLEAR if self._rewrites else ""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass  # nobody reads any more; the program continues


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
