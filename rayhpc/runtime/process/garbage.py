"""Runs Python's garbage collector where it holds nobody up.

Called by drivers and workers, when a store fills up or definitions are dropped.
"""

from __future__ import annotations

import gc
import threading


def collect_apart() -> None:
    """Run the collector in a separate thread: what it finds may have finalizers of the user's,
    and those may wait.
    """
    threading.Thread(target=gc.collect, name="rayhpc-garbage", daemon=True).start()
