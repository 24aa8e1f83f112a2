"""More than one message holds: into one task, into many at once, and ahead of an actor."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import Any

import pytest

import rayhpc
from rayhpc.runtime.owner import inline_values
from rayhpc.runtime.process import current

SMALL = 90_000  # travels inside messages


@pytest.fixture(params=["here", "far"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options that put a task or actor on the driver's node, or on the other of two."""
    if request.param == "here":
        request.getfixturevalue("ray")
        return {"num_cpus": 0.5}
    request.getfixturevalue("nodes")
    return {"num_cpus": 0.5, "resources": {"far": 0.01}}


def test_many_small_values_go_into_one_task(place: dict[str, Any]) -> None:
    @rayhpc.remote
    def made(i: int) -> bytes:
        return bytes([i % 256]) * SMALL

    @rayhpc.remote
    def total(*values: bytes) -> int:
        return sum(x[0] for x in values)

    @rayhpc.remote
    def inside(refs: list[Any]) -> int:
        return sum(x[0] for x in rayhpc.get(refs))

    @rayhpc.remote
    class Adder:
        def __init__(self, *values: bytes) -> None:
            self.first = sum(x[0] for x in values)

        def total(self, *values: bytes) -> int:
            return self.first + sum(x[0] for x in values)

        def each(self, *values: bytes) -> Any:
            yield from (len(x) for x in values[:2])

    refs = [made.remote(i) for i in range(1600)]  # 137 MiB
    expected = sum(i % 256 for i in range(1600))
    assert rayhpc.get(total.options(**place).remote(*refs), timeout=60) == expected
    assert rayhpc.get(inside.options(**place).remote(refs), timeout=60) == expected
    adder = Adder.options(**place).remote(*refs)
    assert rayhpc.get(adder.total.remote(*refs), timeout=60) == 2 * expected
    assert [rayhpc.get(x) for x in adder.each.remote(*refs)] == [SMALL, SMALL]
    assert rayhpc.get(total.options(**place).remote(b"\1"), timeout=30) == 1


def test_many_tasks_with_small_values_go_at_once(place: dict[str, Any]) -> None:
    @rayhpc.remote
    def same(i: int, first: bytes, second: bytes) -> int:
        return i

    first, second = rayhpc.put(os.urandom(95_000)), rayhpc.put(os.urandom(95_000))
    task = same.options(**place)
    found = rayhpc.get([task.remote(i, first, second) for i in range(1500)], timeout=60)
    assert found == list(range(1500))


def test_many_calls_with_small_values_wait_for_their_actor(place: dict[str, Any]) -> None:
    @rayhpc.remote
    class Slow:
        def __init__(self, begin: Any) -> None:
            rayhpc.get(begin)

        def size(self, value: bytes) -> int:
            return len(value)

        def give(self, value: bytes) -> bytes:
            return value

    @rayhpc.remote
    class Gate:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> None:
            await self.event.wait()

        async def open(self) -> None:
            self.event.set()

    gate = Gate.options(num_cpus=0).remote()
    slow = Slow.options(**place).remote([gate.wait.remote()])
    blob = os.urandom(SMALL)
    refs = [slow.size.remote(blob) for _ in range(1500)]  # 129 MiB
    back = [slow.give.remote(blob) for _ in range(100)]
    rayhpc.get(gate.open.remote())
    assert rayhpc.get(refs, timeout=60) == [SMALL] * 1500
    assert all(x == blob for x in rayhpc.get(back, timeout=60))


@pytest.mark.usefixtures("ray")
def test_a_definition_larger_than_a_message_is_refused_at_once() -> None:
    big = bytes(100 << 20)

    @rayhpc.remote
    class Holder:
        def size(self) -> int:
            return len(big)

    with pytest.raises(ValueError, match=r"rayhpc\.put"):
        rayhpc.remote(lambda: len(big)).remote()
    with pytest.raises(ValueError, match=r"rayhpc\.put"):
        Holder.remote()
    assert rayhpc.get(rayhpc.remote(lambda: 1).remote(), timeout=20) == 1


def anonymous_bytes() -> int:
    """This process's own memory: what lies in the store is not counted."""
    with open("/proc/self/status") as status:
        (line,) = [x for x in status if x.startswith("RssAnon:")]
    return int(line.split()[1]) << 10


def test_small_values_within_a_budget_and_the_rest_in_the_store(place: dict[str, Any]) -> None:
    @rayhpc.remote
    def made(i: int) -> bytes:
        return i.to_bytes(2, "big") * (SMALL // 2)

    @rayhpc.remote
    class Slow:
        def __init__(self, begin: Any) -> None:
            rayhpc.get(begin)

        def first(self, value: bytes) -> int:
            return int.from_bytes(value[:2], "big")

    @rayhpc.remote
    class Gate:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> None:
            await self.event.wait()

        async def open(self) -> None:
            self.event.set()

    inline = current.client()._core.inline
    count = 1500  # 129 MiB
    before = anonymous_bytes()
    values = [i.to_bytes(2, "big") * (SMALL // 2) for i in range(3)]
    puts = [rayhpc.put(i.to_bytes(2, "big") * (SMALL // 2)) for i in range(count)]
    assert inline.total <= inline_values.BUDGET_BYTES
    assert anonymous_bytes() - before < inline_values.BUDGET_BYTES + (40 << 20)
    results = [made.options(**place).remote(i) for i in range(count)]
    assert rayhpc.wait(results, num_returns=count, timeout=60)[1] == []
    gate = Gate.options(num_cpus=0).remote()
    slow = Slow.options(**place).remote([gate.wait.remote()])
    calls = [slow.first.remote(i.to_bytes(2, "big") * (SMALL // 2)) for i in range(count)]
    deadline = time.monotonic() + 60
    while inline.total > inline_values.BUDGET_BYTES + (8 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.01)
        rayhpc.get(rayhpc.put(1))
    rayhpc.get(gate.open.remote())
    assert rayhpc.get(calls, timeout=60) == list(range(count))
    for refs in (puts, results):
        assert rayhpc.get(refs[:3]) == values
        assert [int.from_bytes(x[:2], "big") for x in rayhpc.get(refs)] == list(range(count))
    del puts, results, refs, calls
    while inline.total > 1 << 20:
        assert time.monotonic() < deadline + 20
        gc.collect()
        time.sleep(0.01)
        rayhpc.get(rayhpc.put(1))
