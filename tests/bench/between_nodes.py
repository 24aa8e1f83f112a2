"""Rows of what happens between two nodes: the driver's, which has no CPUs, and one more.

    python -m tests.bench.between_nodes [--seconds 1]     rayhpc alone, beside what the wire gives

Used by `vs_ray` as its group "between", which loads this file into interpreters without rayhpc: it
imports nothing of ours.  All answers are checked.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGE = 100 * 2**20
TEN = 10 * 2**20
MIDDLE = 100 * 1024
STORE = 700 * 2**20
BATCH = 100
# The first ones find memory that nobody has used.
MOVES_MIN = 9
ROOT = Path(__file__).resolve().parents[2]


def take(data: Any) -> int:
    """How many bytes there are, and that the first and last are the right ones."""
    assert data[0] == data[-1] == 7
    return len(data)


def make(nbytes: int) -> Any:
    """An array of that size."""
    import numpy as np

    array = np.zeros(nbytes, dtype=np.uint8)
    array[0] = array[-1] = 7
    return array


def same(data: Any) -> Any:
    """What was given, made anew."""
    return data.copy()


def nothing() -> bytes:
    """The smallest task."""
    return b"ok"


def echo(data: bytes) -> bytes:
    """What was given."""
    return data


class Actor:
    """Answers."""

    def nothing(self) -> bytes:
        """Answer."""
        return b"ok"


def rows(setting: Any) -> Iterator[Any]:
    """All rows.

    Args:
        setting: a `measuring.Setting`: what is measured, and how.
    """
    ray = setting.ray
    utils = importlib.import_module(f"{ray.__name__}.cluster_utils")
    head = {"num_cpus": 0, "object_store_memory": STORE}
    cluster = utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=setting.workers, object_store_memory=STORE)
        ray.init(address=cluster.address, log_to_driver=False)
        ray.get([ray.remote(nothing).remote() for _ in range(20)])
        yield from _large(setting)
        yield from _small(setting)
        yield from _latency(setting)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _large(setting: Any) -> Iterator[Any]:
    import numpy as np

    ray = setting.ray
    taken, made = ray.remote(take), ray.remote(make)
    array = np.full(LARGE, 7, dtype=np.uint8)

    def there() -> None:
        assert ray.get(taken.remote(ray.put(array))) == LARGE

    def here() -> None:
        assert take(ray.get(made.remote(LARGE))) == LARGE

    def ten() -> None:
        assert sum(map(take, ray.get([made.remote(TEN) for _ in range(10)]))) == 10 * TEN

    yield from setting.rate_row("100 MiB put here, read there", "GB/s", there, LARGE / 1e9)
    yield from setting.rate_row("100 MiB made there, read here", "GB/s", here, LARGE / 1e9)
    yield from setting.rate_row("ten of 10 MiB made there", "GB/s", ten, 10 * TEN / 1e9)
    name = "100 MiB in a store here, read there"
    if not setting.wants(name):
        return
    spans = []
    end = time.perf_counter() + setting.seconds
    while len(spans) < MOVES_MIN or time.perf_counter() < end:
        ref = ray.put(array)
        start = time.perf_counter()
        assert ray.get(taken.remote(ref)) == LARGE
        spans.append(time.perf_counter() - start)
        del ref
    yield _row(setting, name, LARGE / 1e9 / statistics.median(spans), "GB/s")


def _small(setting: Any) -> Iterator[Any]:
    import numpy as np

    ray = setting.ray
    task, given, copied = ray.remote(nothing), ray.remote(echo), ray.remote(same)
    actor = ray.remote(Actor).remote()
    kib = b"x" * 1024
    middle = np.full(MIDDLE, 7, dtype=np.uint8)

    def middles() -> None:
        found = ray.get([copied.remote(middle) for _ in range(BATCH)])
        assert sum(map(take, found)) == BATCH * MIDDLE

    def kibs() -> None:
        assert ray.get([given.remote(kib) for _ in range(BATCH)]) == [kib] * BATCH

    def many() -> None:
        assert ray.get([task.remote() for _ in range(1000)]) == [b"ok"] * 1000

    yield from setting.rate_row("tasks with 100 KiB each way", "tasks/s", middles, BATCH)
    yield from setting.rate_row(
        "actor calls, one at a time, between nodes",
        "calls/s",
        lambda: ray.get(actor.nothing.remote()),
    )
    yield from setting.rate_row(
        "tasks, one at a time, between nodes", "tasks/s", lambda: ray.get(task.remote())
    )
    yield from setting.rate_row("tasks with 1 KiB each way", "tasks/s", kibs, BATCH)
    yield from setting.rate_row("tasks async, between nodes", "tasks/s", many, 1000)


def _latency(setting: Any) -> Iterator[Any]:
    """How soon a raylet answers while gigabytes pass: each put asks it for a place."""
    name = "a put while gigabytes pass: median, and 99 of 100 within"
    if not setting.wants(name):
        return
    ray = setting.ray
    made = ray.remote(make)
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            assert take(ray.get(made.remote(LARGE))) == LARGE

    thread = threading.Thread(target=move)
    thread.start()
    small = bytes(2 * MIDDLE)
    spans = []
    end = time.perf_counter() + max(2.0, setting.seconds)
    while time.perf_counter() < end:
        start = time.perf_counter()
        ray.put(small)
        spans.append(time.perf_counter() - start)
        time.sleep(0.002)
    stop.set()
    thread.join()
    spans.sort()
    worst = spans[int(len(spans) * 0.99)] * 1e3
    median = statistics.median(spans) * 1e3
    yield _row(setting, f"{name} {worst:.1f} ms", median, "ms")


def _row(setting: Any, name: str, value: float, unit: str) -> Any:
    """A row of the setting's own kind: this file imports nothing of ours."""
    measuring = importlib.import_module(type(setting).__module__)
    return measuring.Row(name, value, unit)


def limits() -> dict[str, float]:
    """What the wire gives just now, in GB/s (see `wire_limits`)."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.wire_limits"], cwd=ROOT, stdout=-1, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure rayhpc, and the wire before and after it."""
    import argparse

    import rayhpc
    from rayhpc.util.microbenchmark.measuring import Setting

    parser = argparse.ArgumentParser(description="what happens between two nodes")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    before = limits()
    moved = []
    for row in rows(Setting(rayhpc, 2, given.seconds, given.only, has_pool=False)):
        _show(row.name, row.value, row.unit)
        if row.unit == "GB/s":
            moved.append(row)
    after = limits()
    middle = {name: (value + after[name]) / 2 for name, value in before.items()}
    for name, value in middle.items():
        _show(f"limit: {name}", value, "GB/s")
    for row in moved:
        _show(f"{row.name}, beside plain TCP", row.value / middle["plain TCP"], "")


def _show(name: str, value: float, unit: str) -> None:
    print(f"{name:<70} {value:>12,.2f} {unit}", flush=True)


if __name__ == "__main__":
    main()
