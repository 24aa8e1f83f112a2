"""The same call for several machines at the same time.

Used by the providers of clouds that answer a request only after seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Calls that are made at the same time: a cloud refuses too many.
_AT_ONCE = 8
Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(action: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Do it for each, and wait for all that have begun; the results in the order of the items.

    An error is that of the first item that has one; what has not begun by then never does.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(action, items))
