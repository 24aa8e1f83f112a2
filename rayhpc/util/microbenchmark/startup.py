"""Rows for start and stop: import, init, shutdown, memory of an idle cluster and of a worker."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from . import remote_code as code
from .measuring import Row, Setting

TRIES = 3
WORKERS = 8
MIB = 2**20


def import_row(setting: Setting) -> Iterator[Row]:
    """What `import` costs a program, beyond starting the interpreter."""
    if not setting.wants("import"):
        return
    ray = setting.ray.__name__
    lines = f"import time; t = time.perf_counter(); import {ray}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", lines], stdout=-1, check=True).stdout)
        for _ in range(TRIES)
    ]
    yield Row("import", min(times), "s")


def start(setting: Setting) -> None:
    """Start a cluster with one CPU per worker."""
    setting.ray.init(num_cpus=setting.workers, log_to_driver=False)


def start_rows(setting: Setting) -> Iterator[Row]:
    """From `init` to the first result, a few times; the last cluster is kept."""
    ray = setting.ray
    tries = TRIES if setting.wants("init to first result") else 1
    first, ends = [], []
    for i in range(tries):
        begun = time.perf_counter()
        start(setting)
        ray.get(ray.remote(code.nothing).remote())
        first.append(time.perf_counter() - begun)
        if i < tries - 1:
            begun = time.perf_counter()
            ray.shutdown()
            ends.append(time.perf_counter() - begun)
    if tries == 1:
        return
    yield Row("init to first result", min(first), "s", note=f"at the first time {first[0]:.2f}")
    yield Row("shutdown of an idle cluster", min(ends), "s")


def memory_rows(setting: Setting) -> Iterator[Row]:
    """The private memory of the processes of an idle cluster, and of one more worker."""
    if not setting.wants("memory"):
        return
    ray = setting.ray
    found = list(_descendants(os.getpid()))
    private = sum(map(code.private_bytes, found))
    yield Row("memory of idle cluster", private / MIB, "MiB", note=f"{len(found)} processes")
    measured = ray.remote(code.own_private_bytes)
    yield Row("memory of a worker", ray.get(measured.remote()) / MIB, "MiB")
    cls = ray.remote(num_cpus=0)(code.Actor)
    spans, actors = [], []
    for _ in range(WORKERS):
        begun = time.perf_counter()
        actor: Any = cls.remote()
        ray.get(actor.small_value.remote())
        spans.append(time.perf_counter() - begun)
        actors.append(actor)
    yield Row("a new actor answers after", statistics.median(spans) * 1e3, "ms")
    memory = ray.get([x.memory.remote() for x in actors])
    yield Row("memory of an actor", statistics.median(memory) / MIB, "MiB")


def _descendants(pid: int) -> Iterator[int]:
    """The children of a process, and their descendants."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            children = [int(x) for x in file.read().split()]
        for child in children:
            yield child
            yield from _descendants(child)
