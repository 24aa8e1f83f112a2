"""Rows of coming and going: import, init, shutdown, what an idle cluster and a worker weigh."""

from __future__ import annotations

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
    """What `import` costs a program, beyond what starting the interpreter does."""
    if not setting.wants("import"):
        return
    ray = setting.ray.__name__
    lines = f"import time; t = time.perf_counter(); import {ray}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", lines], stdout=-1, check=True).stdout)
        for _ in range(TRIES)
    ]
    yield Row("import", min(times), "s")


def start_rows(setting: Setting) -> Iterator[Row]:
    """`init` to the first result, a few times; the last cluster stays."""
    ray = setting.ray
    tries = TRIES if setting.wants("init to first result") else 1
    first, ends = [], []
    for i in range(tries):
        start = time.perf_counter()
        ray.init(num_cpus=setting.workers, log_to_driver=False)
        ray.get(ray.remote(code.nothing).remote())
        first.append(time.perf_counter() - start)
        if i < tries - 1:
            start = time.perf_counter()
            ray.shutdown()
            ends.append(time.perf_counter() - start)
    if tries == 1:
        return
    yield Row("init to first result", min(first), "s", note=f"at the first time {first[0]:.2f}")
    yield Row("shutdown of an idle cluster", min(ends), "s")


def memory_rows(setting: Setting) -> Iterator[Row]:
    """What the processes of an idle cluster, and one worker more, have for themselves."""
    import psutil

    if not setting.wants("memory"):
        return
    ray = setting.ray
    private, names = 0, []
    for process in psutil.Process().children(recursive=True):
        try:
            private += code.private_bytes(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        names.append(process.pid)
    yield Row("memory of idle cluster", private / MIB, "MiB", note=f"{len(names)} processes")
    cls = ray.remote(num_cpus=0)(code.Actor)
    spans, actors = [], []
    for _ in range(WORKERS):
        start = time.perf_counter()
        actor: Any = cls.remote()
        ray.get(actor.small_value.remote())
        spans.append(time.perf_counter() - start)
        actors.append(actor)
    yield Row("a new worker answers after", statistics.median(spans) * 1e3, "ms")
    memory = ray.get([x.memory.remote() for x in actors])
    yield Row("memory of a worker", statistics.median(memory) / MIB, "MiB")
