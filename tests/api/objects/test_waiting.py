"""Waiting from many threads, on event loops and beside values that do not come."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster
from rayhpc.runtime.process import client, current

ROUNDS = 40


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@rayhpc.remote
def soon(number: int) -> int:
    time.sleep(0.0002)
    return number


@rayhpc.remote
class Asking:
    async def outer(self, me: Any, refs: list[Any]) -> Any:
        return await asyncio.to_thread(rayhpc.get, me.inner.remote(refs[0]))

    async def inner(self, value: Any) -> Any:
        return value


@pytest.fixture
def quick_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def test_waits_in_many_threads_name_each_reference_once(ray: Any, quick_switches: None) -> None:
    wrong: list[Any] = []

    def go() -> None:
        for _ in range(ROUNDS):
            left = [soon.remote(i) for i in range(60)]
            while left and not wrong:
                ready, rest = ray.wait(left, num_returns=min(len(left), 7), timeout=0.003)
                if len(set(ready)) != len(ready) or set(ready) | set(rest) != set(left):
                    wrong.append((len(ready), len(rest), len(left)))
                left = rest

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_blocking_get_off_the_loop_is_no_deadlock(ray: Any) -> None:
    actor = Asking.options(max_concurrency=100).remote()
    inside = ray.put(1)
    # More than the default executor of asyncio has threads.
    refs = [actor.outer.remote(actor, [inside]) for _ in range(40)]
    assert ray.get(refs, timeout=30) == [1] * 40


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    rayhpc.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1, resources={"far": 10})
    rayhpc.init(address=cluster.address, log_to_driver=False)
    yield cluster
    rayhpc.shutdown()
    cluster.shutdown()


def test_awaited_values_of_another_node(two_nodes: Any) -> None:
    @rayhpc.remote(resources={"far": 0.1}, num_cpus=0.1)
    def make(number: int) -> Any:
        return np.full(300_000, number, dtype=np.uint8)

    @rayhpc.remote(resources={"far": 0.1}, num_cpus=0.1)
    def fail() -> None:
        raise KeyError("far")

    async def all_of_them() -> list[Any]:
        refs = [*(make.remote(i) for i in range(10)), fail.remote()]
        return await asyncio.gather(*refs, return_exceptions=True)

    *arrays, error = asyncio.run(all_of_them())
    assert [int(x[-1]) for x in arrays] == list(range(10))
    assert isinstance(error, KeyError)
    future = make.remote(7).future()
    assert int(future.result(timeout=30)[0]) == 7


def test_waits_for_what_lies_on_another_node(two_nodes: Any) -> None:
    @rayhpc.remote(resources={"far": 0.1}, num_cpus=0.1)
    def make(number: int) -> Any:
        return np.full(300_000, number, dtype=np.uint8)

    refs = [make.remote(i) for i in range(8)]
    ready, rest = rayhpc.wait(refs, num_returns=5, timeout=30)
    assert len(ready) == 5
    ready, rest = rayhpc.wait(ready + rest, num_returns=8, timeout=30)
    assert rest == []
    assert sorted(int(rayhpc.get(x)[0]) for x in ready) == list(range(8))


@rayhpc.remote(num_cpus=0)
class Gate:
    def __init__(self) -> None:
        self.is_open = asyncio.Event()

    async def open(self) -> None:
        self.is_open.set()

    async def passes(self) -> str:
        await self.is_open.wait()
        return "passed"


class TimeLimit(Exception):
    pass


def limit(*_: object) -> None:
    raise TimeLimit


@pytest.mark.usefixtures("ray")
def test_a_signal_handler_may_call_and_may_end_a_wait_by_raising() -> None:
    gate, seen = Gate.remote(), []

    def calls(*_: object) -> None:
        seen.append(rayhpc.get(soon.remote(3), timeout=30))
        gate.open.remote()

    before, main = signal.getsignal(signal.SIGUSR1), threading.get_ident()
    try:
        for handler in (limit, calls):
            signal.signal(signal.SIGUSR1, handler)
            passed = gate.passes.remote()
            timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGUSR1))
            timer.start()
            if handler is limit:
                with pytest.raises(TimeLimit):
                    rayhpc.get(passed, timeout=30)
            else:
                assert rayhpc.get(passed, timeout=30) == "passed"
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [3]


@pytest.mark.usefixtures("ray")
def test_a_call_goes_out_though_another_thread_waits_for_what_it_brings_about() -> None:
    handover = current.client()._loop.handover
    gate = Gate.remote()
    rayhpc.get(gate.__ray_ready__.remote())
    refs = [gate.passes.remote() for _ in range(3)]
    threads = [threading.Thread(target=rayhpc.get, args=(ref,)) for ref in refs]
    for thread in threads:
        thread.start()
    until(lambda: len(handover._followers) == 2)  # one leads, and polls
    rayhpc.get(gate.open.remote(), timeout=20)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.usefixtures("ray")
def test_a_threaded_actor_may_call_itself_from_its_calls() -> None:
    @rayhpc.remote(num_cpus=0, max_concurrency=20)
    class Stairs:
        def down(self, me: Any, steps: int) -> int:
            return 1 + rayhpc.get(me.down.remote(me, steps - 1)) if steps else 0

    stairs = Stairs.remote()
    for _ in range(3):
        assert rayhpc.get(stairs.down.remote(stairs, 12), timeout=30) == 12


def test_of_calls_that_threads_make_at_a_time_one_wakes_the_thread_that_polls() -> None:
    mine: Any = object()
    others: Any = object()
    assert client._is_next(mine, deque([mine, others]))
    assert not client._is_next(others, deque([mine, others]))
    assert not client._is_next(mine, deque())  # it has been taken
