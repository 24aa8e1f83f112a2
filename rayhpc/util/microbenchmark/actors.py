"""Rows for actors: one and several, synchronous, concurrent and asynchronous; and variants."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from . import remote_code as code
from .measuring import PlainPool, Row, Setting

MANY = 1000
FROM_CLIENTS = 2000


def rows(setting: Setting, pool: PlainPool) -> Iterator[Row]:
    """All rows of this module.

    Args:
        setting: what is measured, and how.
        pool: the reference to measure beside them.
    """
    ray = setting.ray
    cls = ray.remote(num_cpus=0)(code.Actor)
    actor = _ready(ray, [cls.remote()])[0]
    yield from setting.rate_row(
        "1:1 actor calls sync",
        "calls/s",
        lambda: ray.get(actor.small_value.remote()),
        beside=pool.one(code.nothing),
    )
    yield from setting.rate_row(
        "1:1 actor calls async",
        "calls/s",
        lambda: ray.get([actor.small_value.remote() for _ in range(MANY)]),
        MANY,
        pool.many(code.nothing, MANY),
    )
    concurrent = _ready(ray, [cls.options(max_concurrency=16).remote()])[0]
    yield from setting.rate_row(
        "1:1 actor calls concurrent",
        "calls/s",
        lambda: ray.get([concurrent.small_value.remote() for _ in range(MANY)]),
        MANY,
    )
    yield from _several(setting, "actor", cls)
    yield from _with_argument(setting, cls)
    yield from _asynchronous(setting)
    yield from _mixed_row(setting, cls)
    yield from _crash_row(setting)


def _asynchronous(setting: Setting) -> Iterator[Row]:
    ray = setting.ray
    cls = ray.remote(num_cpus=0)(code.AsyncActor)
    actor = _ready(ray, [cls.remote()])[0]
    yield from setting.rate_row(
        "1:1 async-actor calls sync", "calls/s", lambda: ray.get(actor.small_value.remote())
    )
    yield from setting.rate_row(
        "1:1 async-actor calls async",
        "calls/s",
        lambda: ray.get([actor.small_value.remote() for _ in range(MANY)]),
        MANY,
    )
    yield from setting.rate_row(
        "1:1 async-actor calls with args async",
        "calls/s",
        lambda: ray.get([actor.small_value_with_arg.remote(i) for i in range(MANY)]),
        MANY,
    )
    yield from _several(setting, "async-actor", cls)


def _several(setting: Setting, kind: str, cls: Any) -> Iterator[Row]:
    """One client and several actors; several clients and several actors."""
    ray = setting.ray
    servers = _ready(ray, [cls.remote() for _ in range(setting.workers)])
    client = ray.remote(num_cpus=0)(code.Client).remote(ray.__name__, servers)
    yield from setting.rate_row(
        f"1:n {kind} calls async",
        "calls/s",
        lambda: ray.get(client.small_value_batch.remote(FROM_CLIENTS)),
        FROM_CLIENTS * len(servers),
    )
    work = ray.remote(code.call_all)
    yield from setting.rate_row(
        f"n:n {kind} calls async",
        "calls/s",
        lambda: ray.get([work.remote(ray.__name__, servers, FROM_CLIENTS) for _ in range(4)]),
        FROM_CLIENTS * 4,
    )


def _with_argument(setting: Setting, cls: Any) -> Iterator[Row]:
    ray = setting.ray
    client_class = ray.remote(num_cpus=0)(code.Client)
    servers = _ready(ray, [cls.remote() for _ in range(setting.workers)])
    clients = [client_class.remote(ray.__name__, [x]) for x in servers]
    yield from setting.rate_row(
        "n:n actor calls with arg async",
        "calls/s",
        lambda: ray.get([x.small_value_batch_arg.remote(MANY) for x in clients]),
        MANY * len(clients),
    )


def _mixed_row(setting: Setting, cls: Any) -> Iterator[Row]:
    """A long call to one actor among short ones to another: the short ones must not wait for it."""
    name = "mixed: actor calls of 10 ms beside one of 1 s"
    if not setting.wants(name):
        return
    ray = setting.ray
    busy, quick = _ready(ray, [cls.remote(), cls.remote()])
    start = time.perf_counter()
    calls = [busy.nap.remote(1.0), *(quick.nap.remote(0.01) for _ in range(50))]
    ray.get(calls[1:])
    yield Row(name, time.perf_counter() - start, "s", 50 * 0.01, "ideal")
    ray.get(calls[0])


def _crash_row(setting: Setting) -> Iterator[Row]:
    """An actor that dies during its calls and is restarted: all answers must be right."""
    name = "crash: an actor dies among its calls"
    if not setting.wants(name):
        return
    ray = setting.ray
    options = {"num_cpus": 0, "max_restarts": 1, "max_task_retries": -1}
    actor = _ready(ray, [ray.remote(**options)(code.Actor).remote()])[0]
    with tempfile.TemporaryDirectory(prefix="rayhpc-bench-") as folder:
        path = os.path.join(folder, "once")
        start = time.perf_counter()
        refs = [actor.small_value.remote() for _ in range(MANY)]
        refs.insert(MANY // 2, actor.die_once.remote(path))
        answers = ray.get(refs)
        spent = time.perf_counter() - start
    wrong = sum(x != b"ok" for x in answers)
    yield Row(name, len(refs) / spent, "calls/s", note=f"{wrong} wrong")


def _ready(ray: Any, actors: list[Any]) -> list[Any]:
    """The same actors, once they answer."""
    ray.get([x.small_value.remote() for x in actors])
    return actors
