"""The rows of `rayhpc microbenchmark`: Ray's own, each beside what a plain process pool does.

Called by `cli.microbenchmark` and by `tests/bench`.  Measures only; prints nothing.  A rate never
stands alone: the rows named "mixed" and "crash" are the twins of the task and actor rows with
tasks of very different length, and with a worker that dies in the middle.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import rayhpc

SECONDS_PER_ROW = 1.0
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One figure; `beside` is the pool's or memcpy's in the same unit (None: no such thing)."""

    name: str
    value: float
    unit: str
    beside: float | None = None
    beside_name: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """rayhpc's figure over the other's; of durations the other's over rayhpc's."""
        if not self.beside or not self.value:
            return None
        return self.beside / self.value if self.unit == "s" else self.value / self.beside


@dataclass
class Setting:
    """What the rows share: how many workers there are, and how long a row may take."""

    workers: int
    seconds: float = SECONDS_PER_ROW
    rows: list[Row] = field(default_factory=list)


# -- what runs remotely --------------------------------------------------------------------------
def nothing() -> bytes:
    """The smallest task."""
    return b"ok"


def add(a: int, b: int) -> int:
    """A task with two small arguments."""
    return a + b


def nap(seconds: float) -> float:
    """A task of a given length."""
    time.sleep(seconds)
    return seconds


def die_once(path: str) -> str:
    """Kill the worker at the first run, return at the second."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return "survived"
    os.kill(os.getpid(), signal.SIGKILL)
    return "not reached"


class Counter:
    """An actor with one small method."""

    def __init__(self) -> None:
        self.count = 0

    def call(self) -> bytes:
        """Count, and answer."""
        self.count += 1
        return b"ok"


class AsyncCounter:
    """The same with a coroutine."""

    async def call(self) -> bytes:
        """Answer."""
        return b"ok"


# -- measuring -----------------------------------------------------------------------------------
def rate(action: Callable[[], int], seconds: float) -> float:
    """How many per second: the median of several rounds; `action` returns how many it did."""
    action()
    rates = []
    for _ in range(ROUNDS):
        done = 0
        start = time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds / ROUNDS or not done:
            done += action()
        spent = time.perf_counter() - start
        rates.append(done / spent)
    return statistics.median(rates)


def all_rows(setting: Setting) -> Iterator[Row]:
    """Every row, as it is measured; a cluster must be there."""
    pool = multiprocessing.get_context("forkserver").Pool(setting.workers)
    try:
        yield from task_rows(setting, pool)
        yield from actor_rows(setting, pool)
    finally:
        pool.terminate()
        pool.join()
    yield from object_rows(setting)


def task_rows(setting: Setting, pool: Any) -> Iterator[Row]:
    """Tasks: one at a time, many at once, with arguments, of mixed length, with a crash."""
    small, summed = rayhpc.remote(nothing), rayhpc.remote(add)
    seconds = setting.seconds
    many = 2000
    rayhpc.get([small.remote() for _ in range(many)])
    yield Row(
        "single client tasks sync",
        rate(lambda: _one(rayhpc.get(small.remote())), seconds),
        "tasks/s",
        rate(lambda: _one(pool.apply_async(nothing).get()), seconds),
        "Pool",
    )
    yield Row(
        "single client tasks async",
        rate(lambda: len(rayhpc.get([small.remote() for _ in range(many)])), seconds),
        "tasks/s",
        rate(lambda: len(_all([pool.apply_async(nothing) for _ in range(many)])), seconds),
        "Pool",
    )
    yield Row(
        "single client tasks async, two arguments",
        rate(lambda: len(rayhpc.get([summed.remote(i, 2) for i in range(many)])), seconds),
        "tasks/s",
        rate(lambda: len(_all([pool.apply_async(add, (i, 2)) for i in range(many)])), seconds),
        "Pool",
    )
    yield mixed_row(setting)
    yield crash_row(many)


def mixed_row(setting: Setting) -> Row:
    """One task of 2 s among 200 of 10 ms: the time against the ideal."""
    napping = rayhpc.remote(nap)
    rayhpc.get([napping.remote(0.0) for _ in range(4 * setting.workers)])
    start = time.perf_counter()
    rayhpc.get([napping.remote(2.0 if i == 100 else 0.01) for i in range(201)])
    spent = time.perf_counter() - start
    total = 2.0 + 200 * 0.01
    ideal = max(2.0 + (100 / setting.workers) * 0.01, total / setting.workers)
    return Row("mixed: one task of 2 s among 200 of 10 ms", spent, "s", ideal, "ideal")


def crash_row(many: int) -> Row:
    """Many small tasks and one that kills its worker: all answers must be right."""
    import tempfile

    small, deadly = rayhpc.remote(nothing), rayhpc.remote(max_retries=1)(die_once)
    with tempfile.TemporaryDirectory(prefix="rayhpc-bench-") as folder:
        start = time.perf_counter()
        refs: list[Any] = [small.remote() for _ in range(many)]
        refs.insert(many // 2, deadly.remote(os.path.join(folder, "once")))
        answers = rayhpc.get(refs)
        spent = time.perf_counter() - start
    wrong = sum(x not in (b"ok", "survived") for x in answers)
    name = "crash: a worker dies among small tasks"
    return Row(name, len(refs) / spent, "tasks/s", note=f"{wrong} wrong")


def actor_rows(setting: Setting, pool: Any) -> Iterator[Row]:
    """Actor calls: one at a time, many at once, to several actors, to asynchronous ones."""
    seconds, many = setting.seconds, 2000
    cls = rayhpc.remote(num_cpus=0)(Counter)
    actor = cls.remote()
    rayhpc.get(actor.call.remote())
    pool_sync = rate(lambda: _one(pool.apply_async(nothing).get()), seconds)
    yield Row(
        "1:1 actor calls sync",
        rate(lambda: _one(rayhpc.get(actor.call.remote())), seconds),
        "calls/s",
        pool_sync,
        "Pool",
    )
    yield Row(
        "1:1 actor calls async",
        rate(lambda: len(rayhpc.get([actor.call.remote() for _ in range(many)])), seconds),
        "calls/s",
        rate(lambda: len(_all([pool.apply_async(nothing) for _ in range(many)])), seconds),
        "Pool",
    )
    several = [cls.remote() for _ in range(setting.workers)]
    rayhpc.get([x.call.remote() for x in several])
    yield Row(
        "1:n actor calls async",
        rate(
            lambda: len(
                rayhpc.get([several[i % len(several)].call.remote() for i in range(many)])
            ),
            seconds,
        ),
        "calls/s",
    )
    asynchronous = rayhpc.remote(num_cpus=0)(AsyncCounter).remote()
    rayhpc.get(asynchronous.call.remote())
    yield Row(
        "1:1 async actor calls sync",
        rate(lambda: _one(rayhpc.get(asynchronous.call.remote())), seconds),
        "calls/s",
    )
    yield Row(
        "1:1 async actor calls async",
        rate(lambda: len(rayhpc.get([asynchronous.call.remote() for _ in range(1000)])), seconds),
        "calls/s",
    )


def object_rows(setting: Setting) -> Iterator[Row]:
    """Objects: small ones, large ones against memcpy, many references."""
    import numpy as np

    seconds = setting.seconds
    yield Row(
        "single client put calls", rate(lambda: _puts(1000), seconds), "puts/s"
    )
    small_ref = rayhpc.put(0)
    yield Row(
        "single client get calls",
        rate(lambda: sum(rayhpc.get(small_ref) == 0 for _ in range(1000)), seconds),
        "gets/s",
    )
    array = np.ones(100 * 2**20, dtype=np.uint8)
    target = np.zeros_like(array)

    def copy() -> int:
        np.copyto(target, array)
        return 1

    copied = rate(copy, seconds)
    yield Row(
        "single client put gigabytes",
        rate(lambda: _one(rayhpc.put(array)), seconds) * array.nbytes / 1e9,
        "GB/s",
        copied * array.nbytes / 1e9,
        "memcpy",
    )
    large = rayhpc.put(array)
    yield Row(
        "get of 100 MiB, in place",
        rate(lambda: _one(rayhpc.get(large)), seconds),
        "gets/s",
    )
    refs = [rayhpc.put(i) for i in range(1000)]
    yield Row(
        "single client wait 1k refs",
        rate(lambda: _one(rayhpc.wait(refs, num_returns=1000)), seconds),
        "waits/s",
    )
    inside = rayhpc.put([rayhpc.put(i) for i in range(10_000)])
    yield Row(
        "single client get object containing 10k refs",
        rate(lambda: _one(rayhpc.get(inside)), seconds),
        "gets/s",
    )


def _one(_: Any) -> int:
    return 1


def _all(results: list[Any]) -> list[Any]:
    return [x.get() for x in results]


def _puts(count: int) -> int:
    for i in range(count):
        rayhpc.put(i)
    return count
