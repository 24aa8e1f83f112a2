"""How many tasks wait, as the head knows it for `status` and for who adds nodes: on two nodes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import Load
from rayhpc.wire.messages.load import ClusterLoad

CPUS = 4


@ray.remote
def takes_one(fifo: str) -> bytes:
    with open(fifo, "rb", buffering=0) as file:
        return file.read(1)


@ray.remote(num_cpus=0, resources={"far": 0.1})
class Owner:
    def submit(self, fifo: str, count: int) -> int:
        self.refs = [takes_one.remote(fifo) for _ in range(count)]
        return len(self.refs)


def wait_until_there_wait(count: int) -> None:
    deadline = time.monotonic() + 60
    found = -1
    while found != count and time.monotonic() < deadline:
        load: Any = current.client().ask_head(Load(), ClusterLoad)
        found = sum(x.count for x in load.waiting)
    assert found == count


@pytest.mark.usefixtures("two")
def test_tasks_that_wait_are_counted_once_and_go_with_their_owner(tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    try:
        refs = [takes_one.remote(fifo) for _ in range(CPUS + 20)]
        wait_until_there_wait(20)
        refs += [takes_one.remote(fifo) for _ in range(5)]
        wait_until_there_wait(25)
        owner = Owner.remote()
        assert ray.get(owner.submit.remote(fifo, 10), timeout=20) == 10
        wait_until_there_wait(35)
        ray.kill(owner)
        wait_until_there_wait(25)
        ray.cancel(refs.pop())
        wait_until_there_wait(24)
        os.write(end, b"x" * len(refs))
        assert ray.get(refs, timeout=30) == [b"x"] * len(refs)
        wait_until_there_wait(0)
    finally:
        os.close(end)
