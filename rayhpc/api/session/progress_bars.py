"""Progress bars for the tools of `util`: drawn by the driver, whichever process updates them.

Used by `util.progress_bars` and `util.tqdm_ray`.
"""

from __future__ import annotations

import builtins

from rayhpc.api.session.session import is_worker
from rayhpc.runtime.process.progress_bars import Bar, board, pack


def show(bar: Bar) -> None:
    """Draw a bar in its present state; a worker sends it to the driver."""
    if is_worker():
        builtins.print(pack(bar), flush=True)
    else:
        board.show(bar)


above = board.above

__all__ = ["Bar", "above", "show"]
