"""Rows for tasks: one at a time, many at once, from several clients; and variants."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from . import remote_code as code
from .measuring import PlainPool, Row, Setting

MANY = 2000
SHORT_S, LONG_S, SHORT_ONES = 0.01, 2.0, 200


def rows(setting: Setting, pool: PlainPool) -> Iterator[Row]:
    """All rows of this module.

    Args:
        setting: what is measured, and how.
        pool: the reference to measure beside them.
    """
    ray = setting.ray
    small, summed = ray.remote(code.nothing), ray.remote(code.add)
    ray.get([small.remote() for _ in range(MANY)])
    yield from setting.rate_row(
        "single client tasks sync",
        "tasks/s",
        lambda: ray.get(small.remote()),
        beside=pool.one(code.nothing),
    )
    yield from setting.rate_row(
        "single client tasks async",
        "tasks/s",
        lambda: ray.get([small.remote() for _ in range(MANY)]),
        MANY,
        pool.many(code.nothing, MANY),
    )
    yield from setting.rate_row(
        "single client tasks async, two arguments",
        "tasks/s",
        lambda: ray.get([summed.remote(i, 2) for i in range(MANY)]),
        MANY,
        pool.many(code.add, MANY, (1, 2)),
    )
    yield from setting.rate_row(
        "single client tasks and get batch",
        "batches/s",
        lambda: ray.get([small.remote() for _ in range(1000)]),
        beside=pool.many(code.nothing, 1000),
    )
    yield from _clients_row(setting, small)
    yield from _mixed_row(setting)
    yield from _crash_row(setting, small)


def _clients_row(setting: Setting, small: Any) -> Iterator[Row]:
    name = "multi client tasks async"
    if not setting.wants(name):
        return
    ray = setting.ray
    clients = [ray.remote(num_cpus=0)(code.Actor).remote() for _ in range(4)]

    def submit() -> None:
        ray.get([x.submit.remote(ray.__name__, small, MANY) for x in clients])

    yield from setting.rate_row(name, "tasks/s", submit, MANY * len(clients))


def _mixed_row(setting: Setting) -> Iterator[Row]:
    """One long task among many short ones: the time beside the theoretical minimum."""
    name = "mixed: one task of 2 s among 200 of 10 ms"
    if not setting.wants(name):
        return
    ray = setting.ray
    napping = ray.remote(code.nap)
    ray.get([napping.remote(0.0) for _ in range(4 * setting.workers)])
    start = time.perf_counter()
    times = [LONG_S if i == SHORT_ONES // 2 else SHORT_S for i in range(SHORT_ONES + 1)]
    ray.get([napping.remote(x) for x in times])
    spent = time.perf_counter() - start
    yield Row(name, spent, "s", least_time(setting.workers), "ideal")


def least_time(workers: int) -> float:
    """The minimum time of the mixed row.

    Tasks begin in the order they were submitted, so the long one begins when those before it have
    been spread over the workers, each of which may be in the middle of its own.
    """
    before = SHORT_ONES // 2
    begins = before // workers * SHORT_S
    return max(begins + LONG_S, (LONG_S + SHORT_ONES * SHORT_S) / workers)


def _crash_row(setting: Setting, small: Any) -> Iterator[Row]:
    """Many small tasks and one that kills its worker: all answers must be right."""
    name = "crash: a worker dies among small tasks"
    if not setting.wants(name):
        return
    ray = setting.ray
    deadly = ray.remote(max_retries=1)(code.die_once)
    with tempfile.TemporaryDirectory(prefix="rayhpc-bench-") as folder:
        start = time.perf_counter()
        refs: list[Any] = [small.remote() for _ in range(MANY)]
        refs.insert(MANY // 2, deadly.remote(os.path.join(folder, "once")))
        answers = ray.get(refs)
        spent = time.perf_counter() - start
    wrong = sum(x != b"ok" for x in answers)
    yield Row(name, len(refs) / spent, "tasks/s", note=f"{wrong} wrong")
