"""`tqdm` for tasks and actors: the driver draws a worker's bar, so that it garbles no output.

Used by programs and libraries, as `rayhpc.util.tqdm_ray.tqdm` or Ray's
`ray.experimental.tqdm_ray.tqdm`.
"""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from rayhpc.api.session import progress_bars
from rayhpc.api.session.progress_bars import Bar
from rayhpc.api.session.session import is_worker


class tqdm:  # noqa: N801
    """A progress bar.

    Args:
        iterable: what to iterate over; its length is the total unless one is given.
        desc: the text before the bar.
        total: the final count.
        unit: the name of one item.
        position: ignored; bars are drawn in the order of creation.
        flush_interval_s: the minimum time between a worker's updates, in seconds.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float = 1.0,
    ) -> None:
        self._iterable = iterable
        length = getattr(iterable, "__len__", None)
        if total is None and length is not None:
            total = int(length())
        self._bar = Bar(uuid.uuid4().hex, desc or "", 0, total, unit or "it", time.time())
        self._interval = flush_interval_s
        self._next = 0.0
        self._tell()

    def set_description(self, desc: str) -> None:
        """Change the text before the bar."""
        self._bar.text = desc
        self._tell()

    def update(self, n: float = 1) -> None:
        """Advance by `n`."""
        self._bar.count += n
        self._tell()

    def refresh(self) -> None:
        """Show the current state now."""
        self._tell(at_once=True)

    def close(self) -> None:
        """Finish the bar."""
        if not self._bar.closed:
            self._bar.closed = True
            self._tell(at_once=True)

    @property
    def n(self) -> float:
        """The current count."""
        return self._bar.count

    @property
    def total(self) -> float | None:
        """The final count."""
        return self._bar.total

    @total.setter
    def total(self, total: float) -> None:
        self._bar.total = total

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise ValueError("This bar was created without an iterable: call update() instead.")
        try:
            for item in self._iterable:
                yield item
                self.update(1)
        finally:
            self.close()

    def __len__(self) -> int:
        return int(self._bar.total or 0)

    def __enter__(self) -> tqdm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now >= self._next or not is_worker():
            self._next = now + self._interval
            progress_bars.show(self._bar)


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """`tqdm(range(*args), **kwargs)`."""
    return tqdm(range(*args), **kwargs)


def safe_print(*args: Any, **kwargs: Any) -> None:
    """`print` above the bars."""
    with progress_bars.above():
        builtins.print(*args, **kwargs)


__all__ = ["safe_print", "tqdm", "trange"]
