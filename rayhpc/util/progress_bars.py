"""Progress bars over references, for long-running work.

Used by programs: `for ref in progress_bar(refs): …`, or `values = get_with_progress(refs)`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import rayhpc
from rayhpc.api.session.progress_bars import Bar
from rayhpc.api.session.progress_bars import show as show_bar

LOOK_EVERY_S = 0.2


def progress_bar(
    refs: Sequence[Any], desc: str = "", *, unit: str = "task", show: bool = True
) -> Iterator[Any]:
    """The references as they become ready, with a bar on stderr.

    Args:
        refs: references.
        desc: the text before the bar.
        unit: the name of one item.
        show: False: no bar.
    """
    left = list(refs)
    bar = Bar(uuid.uuid4().hex, desc, 0, len(left), unit, time.time())
    try:
        while left:
            ready, left = rayhpc.wait(
                left, num_returns=len(left), timeout=LOOK_EVERY_S, fetch_local=False
            )
            bar.count += len(ready)
            if show and left:
                show_bar(bar)
            yield from ready
    finally:
        if show:
            bar.closed = True
            show_bar(bar)


def get_with_progress(refs: Sequence[Any], desc: str = "", *, unit: str = "task") -> list[Any]:
    """`get` with a bar: the values of `refs`, in their order.

    Raises:
        RayError: the first error, as soon as it occurs.
    """
    for ref in progress_bar(refs, desc, unit=unit):
        rayhpc.get(ref)
    return [rayhpc.get(ref) for ref in refs]


__all__ = ["get_with_progress", "progress_bar"]
