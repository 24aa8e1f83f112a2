"""`multiprocessing.Pool` on the cluster: the same interface, with processes on all nodes.

Used by programs in place of the standard library's.
"""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from rayhpc.util.multiprocessing.pool import Pool
from rayhpc.util.multiprocessing.results import AsyncResult, PoolTaskError

__all__ = ["AsyncResult", "JoinableQueue", "Pool", "PoolTaskError", "TimeoutError"]
