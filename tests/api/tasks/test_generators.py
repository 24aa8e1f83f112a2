"""Generators: items as they come, failures, back-pressure, dropping."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions


@rayhpc.remote
def count(n: int, seconds: float = 0) -> Any:
    for i in range(n):
        yield i
        time.sleep(seconds)


@rayhpc.remote
def fail_after(n: int) -> Any:
    yield from range(n)
    raise KeyError("no more")


@rayhpc.remote
class Producer:
    def __init__(self) -> None:
        self.made = 0
        self.closed = False

    def produce(self, n: int) -> Any:
        try:
            for i in range(n):
                self.made = i + 1
                yield i
        finally:
            self.closed = True

    async def state(self) -> tuple[int, bool]:
        return self.made, self.closed


def test_generators_stream_by_themselves(ray: Any) -> None:
    items = count.remote(3)
    assert isinstance(items, ray.ObjectRefGenerator)
    refs = list(items)
    assert all(isinstance(x, ray.ObjectRef) for x in refs)
    assert ray.get(refs) == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(items)


def test_items_come_before_the_end(ray: Any) -> None:
    items = count.remote(2, 20.0)
    assert ray.get(next(items), timeout=60) == 0
    ray.cancel(items)


def test_streaming_of_what_is_no_generator(ray: Any) -> None:
    @ray.remote(num_returns="streaming")
    def numbers() -> list[int]:
        return [4, 5]

    assert [ray.get(x) for x in numbers.remote()] == [4, 5]


def test_a_failure_is_one_reference_that_raises_then_the_end(ray: Any) -> None:
    items = fail_after.remote(2)
    assert ray.get([next(items), next(items)], timeout=20) == [0, 1]
    failed = next(items)
    with pytest.raises(KeyError, match="no more"):
        ray.get(failed, timeout=20)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(items)


def test_completed_is_there_at_the_end(ray: Any) -> None:
    items = count.remote(3)
    done = items.completed()
    assert ray.wait([done], timeout=20)[0] == [done]
    assert len(list(items)) == 3
    # What the user's code raises is an item; only the task's own loss is the end's.
    assert ray.get(fail_after.remote(1).completed(), timeout=20) is None

    @ray.remote(max_retries=0)
    def crash() -> Any:
        yield 1
        os._exit(1)

    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(crash.remote().completed(), timeout=20)


def test_large_items(ray: Any) -> None:
    @ray.remote
    def blocks(n: int) -> Any:
        for i in range(n):
            yield bytes([i]) * 300_000

    for i, ref in enumerate(blocks.remote(4)):
        assert ray.get(ref, timeout=20) == bytes([i]) * 300_000


def test_asynchronous_iteration(ray: Any) -> None:
    async def collect() -> list[int]:
        return [await ref async for ref in count.remote(5)]

    assert asyncio.run(collect()) == [0, 1, 2, 3, 4]


def test_back_pressure_holds_the_producer(ray: Any) -> None:
    producer = Producer.options(max_concurrency=2).remote()
    produce = producer.produce.options(_generator_backpressure_num_objects=2)
    items = produce.remote(20)
    assert ray.get(next(items), timeout=20) == 0
    time.sleep(0.2)
    made, _ = ray.get(producer.state.remote(), timeout=20)
    assert made <= 4
    assert [ray.get(x) for x in items] == list(range(1, 20))
    with pytest.raises(ValueError, match="_generator_backpressure_num_objects"):
        producer.produce.options(_generator_backpressure_num_objects=0)


def test_a_dropped_generator_runs_to_its_end_without_waiting_for_room(ray: Any) -> None:
    from tests.api.actors.counter import wait_for

    producer = Producer.options(max_concurrency=2).remote()
    items = producer.produce.options(_generator_backpressure_num_objects=1).remote(1000)
    next(items)
    del items
    gc.collect()
    wait_for(lambda: bool(ray.get(producer.state.remote(), timeout=20)[1]))
    assert ray.get(producer.state.remote(), timeout=20)[0] == 1000


def test_a_closed_generator_is_cancelled(ray: Any, tmp_path: Path) -> None:
    from tests.api.actors.counter import wait_for

    @ray.remote(max_retries=0)
    def endless(marks: str) -> Any:
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            Path(marks, "ended").touch()

    items = endless.remote(str(tmp_path))
    next(items)
    items.close()
    wait_for(lambda: (tmp_path / "ended").exists())


def test_a_caller_s_end_releases_the_producer(ray: Any) -> None:
    from tests.api.actors.counter import wait_for

    @ray.remote(max_retries=0)
    def call_and_crash(handles: list[Any]) -> None:
        items = handles[0].produce.options(_generator_backpressure_num_objects=1).remote(1000)
        next(items)
        os._exit(1)

    producer = Producer.options(max_concurrency=2).remote()
    ray.get(producer.__ray_ready__.remote(), timeout=20)
    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(call_and_crash.remote([producer]), timeout=20)
    wait_for(lambda: bool(ray.get(producer.state.remote(), timeout=20)[1]))


def test_a_crash_in_the_middle_is_made_good(ray: Any, tmp_path: Path) -> None:
    @ray.remote
    def crash_once(marks: str) -> Any:
        first = not os.listdir(marks)
        for i in range(4):
            if i == 2 and first:
                Path(marks, "crashed").touch()
                os._exit(1)
            yield i

    assert [ray.get(x, timeout=20) for x in crash_once.remote(str(tmp_path))] == [0, 1, 2, 3]


def test_dynamic_results(ray: Any) -> None:
    found = ray.get(count.options(num_returns="dynamic").remote(3), timeout=20)
    assert isinstance(found, ray.DynamicObjectRefGenerator)
    assert [ray.get(x) for x in found] == [0, 1, 2]
    assert len(found) == 3


def test_a_dynamic_number_of_results_takes_a_generator(ray: Any) -> None:
    @ray.remote(num_returns="dynamic")
    def numbers() -> list[int]:
        return [4, 5]

    with pytest.raises(TypeError, match="must return a generator, not list"):
        [ray.get(ref, timeout=20) for ref in ray.get(numbers.remote(), timeout=20)]


def test_items_without_waiting(ray: Any) -> None:
    items = count.remote(1, 0.5)
    assert items.next_ready() in (False, True)
    ready, _ = ray.wait([items], timeout=20)
    assert ready == [items]
    assert items.next_ready()
    assert ray.get(items) is items


def test_a_generator_stays_where_it_is(ray: Any) -> None:
    with pytest.raises(TypeError, match="ObjectRefGenerator"):
        ray.put(count.remote(1))


@pytest.mark.parametrize("window", [-1, 3])
def test_threads_may_read_one_generator(ray: Any, window: int) -> None:
    items = count.options(_generator_backpressure_num_objects=window).remote(200)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(ray.get(x, timeout=20) for x in items))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == list(range(200))
