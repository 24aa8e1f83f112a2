"""A hundred thousand tasks and ten thousand objects later, everything is where it was."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.launch import sessions
from rayhpc.runtime.process import current
from rayhpc.wire.messages import cluster
from tests.launch.processes import family

MEBIBYTE = 1 << 20
# Tables that keep what was used once, to use it again; all others are empty at rest.
KEPT = {"scheduling classes", "definitions"}


@pytest.fixture
def session() -> Iterator[Path]:
    ray.shutdown()
    context = ray.init(num_cpus=2, object_store_memory=256 * MEBIBYTE, log_to_driver=False)
    yield Path(context.address_info["session_dir"])
    ray.shutdown()


@ray.remote
def nothing(x: int) -> int:
    return x


@ray.remote
def pass_on(refs: list[Any]) -> list[Any]:
    return [refs[0], ray.put(bytes(10))]


@ray.remote
class Counter:
    def add(self, x: int) -> int:
        return x


def tasks(count: int) -> None:
    for start in range(0, count, 10_000):
        wanted = range(start, min(start + 10_000, count))
        assert ray.get([nothing.remote(i) for i in wanted]) == list(wanted)


def objects(count: int) -> None:
    """Small and large ones, some inside others, some lent to tasks, some never read."""
    large = bytes(150_000)
    for i in range(count):
        ref = ray.put(large if i % 10 == 0 else i)
        if i % 100 == 0:
            inner, other = ray.get(pass_on.remote([ref]))
            assert ray.get(inner) is not None
            assert ray.get(other) == bytes(10)
        elif i % 10 == 1:
            outer = ray.put([ref])
            assert ray.get(ray.get(outer)[0]) == i


def calls(count: int) -> None:
    actor = Counter.remote()
    assert ray.get([actor.add.remote(i) for i in range(count)]) == list(range(count))


def everything(scale: int) -> None:
    tasks(scale)
    objects(scale // 10)
    calls(scale // 50)


def tables() -> dict[str, int]:
    """The sizes of this driver's tables."""
    process = current.client()._core
    submitter, callers, ownership = process.submitter, process.callers, process.ownership
    return {
        "references": len(ownership.table),
        "unfinished tasks": len(list(submitter.unfinished())),
        "requests": len(submitter._requests),
        "scheduling classes": len(submitter._queues),
        "definitions": len(submitter.definitions),
        "small values": process.inline.total,
        "bytes that wait for room": process.windows.waiting_bytes,
        "clients": len(callers._by_address),
        "answers": len(process.answers),
        "views": len(process.store._views),
        "places": len(process.store._creating),
        "borrowers": len(ownership._by_borrower),
    }


def stored() -> list[Any]:
    """What lies in the node's store."""
    client = current.client()
    found: list[Any] = client.ask(client._core.raylet, cluster.StoreObjects(), list[Any])
    return found


def of_processes(session: Path, read: Callable[[int], int]) -> dict[int, int]:
    record = sessions.read_record(session)
    assert record is not None
    found = {}
    for pid in [os.getpid(), *family(record.pid)]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # an idle worker that left
            found[pid] = read(pid)
    return found


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def private_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def settle(session: Path) -> None:
    """Until nothing is under way any more: leases given back, objects freed, actors gone."""
    gc.collect()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        current.client()._loop.flush()
        # That an actor has ended the head tells a little after its last reference has gone.
        if not stored() and not any(size for x, size in tables().items() if x not in KEPT):
            return
        time.sleep(0.05)


def grown_for_good(
    session: Path, read: Callable[[int], int], before: dict[int, int], spare: int
) -> dict[int, tuple[int, int]]:
    """Processes that have more than before, and still do a while later: (before, now) by pid."""
    deadline = time.monotonic() + 60
    while True:
        now = of_processes(session, read)
        more = {
            pid: (before[pid], count)
            for pid, count in now.items()
            if count > before.get(pid, count) + spare
        }
        if not more or time.monotonic() > deadline:
            return more
        time.sleep(0.1)


def test_nothing_grows(session: Path) -> None:
    everything(10_000)
    settle(session)
    before = tables()
    fds, thread_counts = of_processes(session, descriptors), of_processes(session, threads)
    memory = of_processes(session, private_bytes)
    everything(100_000)
    settle(session)
    assert tables() == before
    assert stored() == []
    # Workers that have nothing to do any more take their raylet's descriptors with them.
    assert not grown_for_good(session, descriptors, fds, 2)
    assert not grown_for_good(session, threads, thread_counts, 1)
    grown = {
        pid: size - memory[pid]
        for pid, size in of_processes(session, private_bytes).items()
        if pid in memory
    }
    assert max(grown.values()) < 24 * MEBIBYTE, grown
