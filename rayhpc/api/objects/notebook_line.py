"""The waiting line below a notebook's cell: HTML that each look replaces, and text for the rest.

Used by `waiting_line` in kernels of Jupyter.  IPython's own display: no widget, nothing to install,
and nothing of it is left when the wait is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rayhpc.runtime.process.progress_bars import Bar

_WIDTH = 100
_NOTHING = {"text/plain": "", "text/html": ""}


class NotebookDisplay:
    """The lines that are shown now."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}

    def show(self, bar: Bar) -> None:
        """Show it below the cell that runs."""
        import IPython.display

        display: Callable[..., Any] = IPython.display.display
        now = time.time()
        line = {"text/plain": bar.line(_WIDTH, now), "text/html": as_html(bar, now)}
        handle = self._handles.get(bar.key)
        if handle is None:
            self._handles[bar.key] = display(line, raw=True, display_id=True)
        else:
            handle.update(line, raw=True)

    def drop(self, key: str) -> None:
        """Leave nothing of it."""
        handle = self._handles.pop(key, None)
        if handle is not None:
            handle.update(_NOTHING, raw=True)


def as_html(bar: Bar, now: float) -> str:
    """The bar at time `now`; its note, which has a program's words in it, is text."""
    import html  # 1 ms of every program's start, for those in notebooks

    seconds = max(1e-9, now - bar.started)
    known = f' value="{bar.count:g}" max="{bar.total:g}"' if bar.total else ""
    of = f" of {bar.total:,.0f}" if bar.total else ""
    words = f"{bar.text} {seconds:.0f} s: {bar.count:,.0f}{of} ready"
    if bar.count:
        words += f", {bar.count / seconds:.3g}/s"
    note = html.escape(bar.note.strip())
    return (
        f'<div role="status"><progress{known}></progress> {html.escape(words)}'
        f"{'<br>' if note else ''}{note}</div>"
    )
