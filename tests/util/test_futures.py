"""The `concurrent.futures` executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from typing import Any

import pytest

import rayhpc
from rayhpc.util.futures import Executor

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
class Gate:
    def __init__(self) -> None:
        self._open = asyncio.Event()

    async def open(self) -> None:
        self._open.set()

    async def wait(self) -> None:
        await self._open.wait()


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise ZeroDivisionError(x)


def after(gate: list[Any], x: int) -> int:
    rayhpc.get(gate)
    return x


def test_submit_runs_elsewhere() -> None:
    with Executor() as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        assert executor.submit(square, 3).result(timeout=20) == 9
        assert executor.submit(os.getpid).result() != os.getpid()
        assert executor.submit(int, "11", base=2).result() == 3


def test_many_more_calls_than_are_handed_over() -> None:
    with Executor(max_workers=2) as executor:
        futures = [executor.submit(square, x) for x in range(50)]
        done = concurrent.futures.as_completed(futures, timeout=30)
        assert sorted(x.result() for x in done) == sorted(x * x for x in range(50))


def test_map_keeps_order_and_takes_chunks() -> None:
    with Executor() as executor:
        assert list(executor.map(pow, range(5), [2, 2, 2, 2])) == [0, 1, 4, 9]
        assert list(executor.map(square, range(11), chunksize=4)) == [x * x for x in range(11)]
        assert list(executor.map(square, range(9), buffersize=2)) == [x * x for x in range(9)]
        assert list(executor.map(square, [])) == []
        with pytest.raises(ValueError):
            executor.map(square, [1], chunksize=0)


def test_map_times_out() -> None:
    gate = Gate.remote()
    with Executor() as executor:
        results = executor.map(after, [[gate.wait.remote()]], [1], timeout=0.05)
        with pytest.raises(concurrent.futures.TimeoutError):
            next(results)
        gate.open.remote()


def test_an_error_is_the_callers() -> None:
    with Executor() as executor:
        future = executor.submit(fail, 7)
        with pytest.raises(ZeroDivisionError):
            future.result(timeout=20)
        assert isinstance(future.exception(), ZeroDivisionError)
        unpicklable = executor.submit(square, threading.Lock())
        with pytest.raises(TypeError, match="cannot be pickled"):
            unpicklable.result(timeout=20)
        assert executor.submit(square, 2).result() == 4


def test_what_waits_can_be_cancelled_and_what_runs_cannot() -> None:
    gate = Gate.remote()
    held = gate.wait.remote()
    with Executor(max_workers=1) as executor:
        first = executor.submit(after, [held], 1)
        second = executor.submit(square, 2)
        third = executor.submit(square, 3)
        assert first.running()
        assert not first.cancel()
        assert second.cancel()
        assert second.cancel()
        assert second.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            second.result()
        with pytest.raises(concurrent.futures.TimeoutError):
            first.result(timeout=0.01)
        gate.open.remote()
        assert (first.result(timeout=20), third.result(timeout=20)) == (1, 9)
        assert not first.cancel()


def test_shutdown_can_drop_what_waits() -> None:
    gate = Gate.remote()
    executor = Executor(max_workers=1)
    running = executor.submit(after, [gate.wait.remote()], 1)
    waiting = [executor.submit(square, x) for x in range(3)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(x.cancelled() for x in waiting)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)
    gate.open.remote()
    executor.shutdown()
    assert running.done()
    assert running.result() == 1


def test_callbacks_run_though_nobody_waits() -> None:
    told = threading.Event()
    executor = Executor()
    executor.submit(square, 1).add_done_callback(lambda _: told.set())
    assert told.wait(timeout=20)
    executor.shutdown()


def test_it_serves_an_event_loop() -> None:
    async def main(executor: Executor) -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, square, x) for x in range(5)]
        return list(await asyncio.gather(*calls))

    with Executor() as executor:
        assert asyncio.run(main(executor)) == [0, 1, 4, 9, 16]


def test_options_are_remotes() -> None:
    with pytest.raises(ValueError):
        Executor(num_cpu=1)
    with pytest.raises(ValueError):
        Executor(max_workers=0)
    with Executor(num_cpus=2) as executor:
        resources = executor.submit(
            lambda: rayhpc.get_runtime_context().get_assigned_resources()
        ).result(timeout=20)
    assert resources["CPU"] == 2


def test_an_executor_inside_a_task_gives_its_cpus_away() -> None:
    @rayhpc.remote(num_cpus=4)
    def nested() -> list[int]:
        with Executor() as executor:
            return list(executor.map(square, range(4)))

    assert rayhpc.get(nested.remote(), timeout=30) == [0, 1, 4, 9]
