"""What the rows share: the setting, one row's figures, and how a rate is measured.

Used by the other modules of this package.  Knows nothing of tasks or objects.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.pool
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

ROUNDS = 5
# Units for which smaller is better: for these, too, a ratio above 1 means faster or leaner.
SMALL_IS_GOOD = ("s", "ms", "MiB")

# The reference beside a row: its name, and its action (None: nothing).
Beside = tuple[str, Callable[[], object] | None]
NOTHING: Beside = ("", None)


@dataclass(frozen=True)
class Row:
    """One figure; `beside` is that of `beside_name` in the same unit (None: there is none)."""

    name: str
    value: float
    unit: str
    beside: float | None = None
    beside_name: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better it is than the figure beside it."""
        if not self.beside or not self.value:
            return None
        small = self.unit in SMALL_IS_GOOD
        return self.beside / self.value if small else self.value / self.beside


class PlainPool:
    """What is available without a cluster: `multiprocessing.Pool.apply_async`.

    Args:
        pool: the pool; None: nothing is measured beside the rows.
    """

    def __init__(self, pool: multiprocessing.pool.Pool | None) -> None:
        self._pool = pool

    def one(self, function: Callable[..., object]) -> Beside:
        """One call at a time."""
        pool = self._pool
        return NOTHING if pool is None else ("Pool", lambda: pool.apply_async(function).get())

    def many(
        self, function: Callable[..., object], count: int, args: tuple[Any, ...] = ()
    ) -> Beside:
        """That many calls at once."""
        pool = self._pool
        if pool is None:
            return NOTHING
        return "Pool", lambda: _get_all([pool.apply_async(function, args) for _ in range(count)])


@dataclass
class Setting:
    """What is measured, and how.

    `ray` is rayhpc or the real Ray, `workers` the number of tasks running at a time, `seconds` the
    time for a row, `wanted` a part of the names of the rows to measure (empty: all).
    """

    ray: Any
    workers: int
    seconds: float = 1.0
    wanted: str = ""
    has_pool: bool = True

    def wants(self, name: str) -> bool:
        """Whether a row is to be measured."""
        return self.wanted in name

    @contextlib.contextmanager
    def pool(self) -> Iterator[PlainPool]:
        """A plain process pool with as many workers, which did not inherit our threads."""
        if not self.has_pool:
            yield PlainPool(None)
            return
        with multiprocessing.get_context("forkserver").Pool(self.workers) as pool:
            yield PlainPool(pool)

    def rate_row(
        self,
        name: str,
        unit: str,
        action: Callable[[], object],
        times: float = 1,
        beside: Beside = NOTHING,
    ) -> Iterator[Row]:
        """A row with a rate: how often `action`, which does something `times` times, completes."""
        if not self.wants(name):
            return
        other_name, other = beside
        if other is None:
            yield Row(name, rate(action, times, self.seconds), unit)
            return
        ours, theirs = rates_in_turn(action, other, times, self.seconds)
        yield Row(name, ours, unit, theirs, other_name)


def rate(action: Callable[[], object], times: float, seconds: float) -> float:
    """The rate per second: the median of several rounds, after a warm-up round."""
    action()
    return statistics.median(_round(action, times, seconds / ROUNDS) for _ in range(ROUNDS))


def rates_in_turn(
    action: Callable[[], object], other: Callable[[], object], times: float, seconds: float
) -> tuple[float, float]:
    """The rates of two actions measured alternately, so that disturbances affect both."""
    action()
    other()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_round(action, times, seconds / ROUNDS))
        theirs.append(_round(other, times, seconds / ROUNDS))
    return statistics.median(ours), statistics.median(theirs)


def _get_all(results: list[Any]) -> list[Any]:
    return [x.get() for x in results]


def _round(action: Callable[[], object], times: float, seconds: float) -> float:
    done = 0.0
    start = time.perf_counter()
    while True:
        action()
        done += times
        spent = time.perf_counter() - start
        if spent >= seconds:
            return done / spent
