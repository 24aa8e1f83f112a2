"""Functions and actors that the rows run in workers, as in Ray's own benchmark.

Used by the other modules of this package, in the driver, in workers and in the process pool.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def nothing() -> bytes:
    """The smallest task."""
    return b"ok"


def add(a: int, b: int) -> int:
    """A task with two small arguments."""
    return a + b


def nap(seconds: float) -> float:
    """A task of a given duration."""
    time.sleep(seconds)
    return seconds


def die_once(path: str) -> bytes:
    """Kill the process on the first run, return on the second."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return b"ok"
    os.kill(os.getpid(), signal.SIGKILL)
    return b"not reached"


def private_bytes(pid: int) -> int:
    """The memory that a process shares with no other (Private_* of smaps_rollup)."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        lines = [line.split() for line in file if line.startswith("Private_")]
    return sum(int(line[1]) * 1024 for line in lines)


def own_private_bytes() -> int:
    """The same of this process."""
    return private_bytes(os.getpid())


class Actor:
    """An actor with small methods, one of which submits small tasks."""

    def small_value(self) -> bytes:
        """Answer."""
        return b"ok"

    def small_value_arg(self, x: Any) -> bytes:
        """Answer, given something."""
        return b"ok"

    def nap(self, seconds: float) -> float:
        """Take a given time."""
        return nap(seconds)

    def die_once(self, path: str) -> bytes:
        """Kill the actor on the first run, answer on the second."""
        return die_once(path)

    def memory(self) -> int:
        """This process's private memory in bytes."""
        return own_private_bytes()

    def submit(self, ray: str, function: Any, count: int) -> int:
        """Submit small tasks and get their results."""
        return len(_module(ray).get([function.remote() for _ in range(count)]))


class AsyncActor:
    """The same with coroutines."""

    async def small_value(self) -> bytes:
        """Answer."""
        return b"ok"

    async def small_value_with_arg(self, x: Any) -> bytes:
        """Answer, given something."""
        return b"ok"


class Client:
    """An actor that calls others."""

    def __init__(self, ray: str, servers: list[Any]) -> None:
        self.ray = _module(ray)
        self.servers = servers

    def small_value_batch(self, count: int) -> int:
        """Call each of them that many times."""
        calls = [x.small_value.remote() for x in self.servers for _ in range(count)]
        return len(self.ray.get(calls))

    def small_value_batch_arg(self, count: int) -> int:
        """The same with a reference as argument."""
        x = self.ray.put(0)
        calls = [x_.small_value_arg.remote(x) for x_ in self.servers for _ in range(count)]
        return len(self.ray.get(calls))


def call_all(ray: str, servers: list[Any], count: int) -> int:
    """A task that calls actors in turn, `count` calls in all."""
    calls = [servers[i % len(servers)].small_value.remote() for i in range(count)]
    return len(_module(ray).get(calls))


def put_small(ray: str, count: int) -> int:
    """A task that puts small objects."""
    put = _module(ray).put
    for _ in range(count):
        put(0)
    return count


def put_large(ray: str, count: int, nbytes: int) -> int:
    """A task that puts large arrays."""
    import numpy as np

    array = np.zeros(nbytes, dtype=np.uint8)
    put = _module(ray).put
    for _ in range(count):
        put(array)
    return count


def many_references(ray: str, count: int) -> list[Any]:
    """A task whose result holds references."""
    put = _module(ray).put
    return [put(1) for _ in range(count)]


def _module(ray: str) -> Any:
    import importlib

    return importlib.import_module(ray)
