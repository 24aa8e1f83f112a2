"""`multiprocessing.Pool` on the cluster."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import rayhpc
from rayhpc.util.multiprocessing import Pool, TimeoutError

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def pool(cluster: None) -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


def square(x: int) -> int:
    return x * x


def fail_on_three(x: int) -> int:
    if x == 3:
        raise ZeroDivisionError("three")
    return x


def wait_for(gate: list[Any], x: int) -> int:
    rayhpc.get(gate)
    return x


@rayhpc.remote
class Gate:
    def __init__(self) -> None:
        import asyncio

        self._open = asyncio.Event()

    async def open(self) -> None:
        self._open.set()

    async def wait(self) -> None:
        await self._open.wait()


def test_map_keeps_order_whatever_the_chunks(pool: Pool) -> None:
    expected = [x * x for x in range(23)]
    assert pool.map(square, range(23)) == expected
    assert pool.map(square, range(23), chunksize=1) == expected
    assert pool.map(square, range(23), chunksize=100) == expected
    assert pool.map(square, []) == []


def test_starmap_spreads_arguments(pool: Pool) -> None:
    pairs = [(1, 2), (3, 4), [5, 6]]
    assert pool.starmap(pow, pairs) == [1, 81, 15625]
    assert pool.starmap_async(pow, pairs).get() == [1, 81, 15625]


def test_apply_takes_positional_and_keyword_arguments(pool: Pool) -> None:
    assert pool.apply(int, ("12",), {"base": 8}) == 10
    assert pool.apply_async(square, [4]).get(timeout=60) == 16
    assert pool.apply(lambda: [1, [2]]) == [1, [2]]


def test_functions_run_in_processes_of_the_pool(pool: Pool) -> None:
    pids = set(pool.map(lambda _: os.getpid(), range(40), chunksize=1))
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_imap_is_lazy_and_in_order(pool: Pool) -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for x in itertools.count():
            taken.append(x)
            yield x

    results = pool.imap(square, numbers())
    assert list(itertools.islice(results, 10)) == [x * x for x in range(10)]
    assert len(taken) < 30


def test_imap_unordered_gives_what_is_there_first(pool: Pool) -> None:
    gate = Gate.remote()
    held = gate.wait.remote()
    results = pool.imap_unordered(lambda x: wait_for([held], x) if x == 0 else x, range(4))
    assert sorted(next(results) for _ in range(3)) == [1, 2, 3]
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    rayhpc.get(gate.open.remote())
    assert list(results) == [0]


def test_imap_takes_chunks(pool: Pool) -> None:
    assert list(pool.imap(square, range(7), chunksize=3)) == [x * x for x in range(7)]
    assert sorted(pool.imap_unordered(square, range(7), 3)) == [x * x for x in range(7)]
    with pytest.raises(ValueError):
        pool.imap(square, range(3), chunksize=0)


def test_an_error_arrives_with_its_own_type(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError, match="three"):
        pool.map(fail_on_three, range(5))
    with pytest.raises(ZeroDivisionError):
        pool.apply(fail_on_three, (3,))
    results = list(pool.imap(fail_on_three, range(5)))
    assert isinstance(results.pop(3), ZeroDivisionError)
    assert results == [0, 1, 2, 4]


def test_async_results_say_how_it_stands(pool: Pool) -> None:
    gate = Gate.remote()
    result = pool.apply_async(wait_for, ([gate.wait.remote()], 7))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(TimeoutError):
        result.get(timeout=0.01)
    result.wait(timeout=0.01)
    gate.open.remote()
    assert result.get(timeout=20) == 7
    assert result.ready()
    assert result.successful()
    failed = pool.apply_async(fail_on_three, (3,))
    failed.wait()
    assert not failed.successful()


def test_callbacks_are_called_though_nobody_waits(pool: Pool) -> None:
    told: queue.Queue[Any] = queue.Queue()
    pool.apply_async(square, (3,), callback=told.put)
    assert told.get(timeout=20) == 9
    pool.map_async(square, range(3), callback=told.put)
    assert told.get(timeout=20) == [0, 1, 4]
    pool.map_async(square, [], callback=told.put)
    assert told.get(timeout=20) == []
    pool.apply_async(fail_on_three, (3,), error_callback=told.put)
    assert isinstance(told.get(timeout=20), ZeroDivisionError)


def test_a_long_piece_holds_up_only_its_own_process(pool: Pool) -> None:
    gate = Gate.remote()
    held = gate.wait.remote()
    slow = pool.apply_async(wait_for, ([held], 0))
    quick = [pool.apply_async(square, (x,)) for x in range(50)]
    assert [x.get(timeout=20) for x in quick] == [x * x for x in range(50)]
    assert not slow.ready()
    gate.open.remote()
    assert slow.get(timeout=20) == 0


def test_the_initializer_runs_once_in_each_process() -> None:
    def remember(value: str) -> None:
        os.environ["POOL_TEST"] = os.environ.get("POOL_TEST", "") + value

    with Pool(2, initializer=remember, initargs=("x",)) as made:
        assert set(made.map(lambda _: os.environ["POOL_TEST"], range(20), chunksize=1)) == {"x"}


def test_processes_are_replaced_after_their_share() -> None:
    with Pool(1, maxtasksperchild=2) as made:
        pids = [made.apply(os.getpid) for _ in range(6)]
    assert len(set(pids)) == 3
    assert pids[0] == pids[1] != pids[2]


def test_a_process_that_dies_fails_its_piece_alone() -> None:
    with Pool(1) as made:
        with pytest.raises(rayhpc.exceptions.RayActorError):
            made.apply(os._exit, (1,))
        assert made.apply(square, (3,)) == 9


def test_close_and_join_let_the_work_finish() -> None:
    made = Pool(2)
    with pytest.raises(ValueError, match="still running"):
        made.join()
    result = made.map_async(square, range(30), chunksize=1)
    made.close()
    with pytest.raises(ValueError, match="not running"):
        made.apply_async(square, (1,))
    made.join()
    assert result.ready()
    assert result.get() == [x * x for x in range(30)]
    made.join()


def test_terminate_fails_what_is_not_there() -> None:
    gate = Gate.remote()
    held = gate.wait.remote()
    made = Pool(1)
    running = made.apply_async(wait_for, ([held], 1))
    waiting = [made.apply_async(wait_for, ([held], x)) for x in range(3)]
    made.terminate()
    made.join()
    for result in (running, *waiting):
        with pytest.raises((rayhpc.exceptions.RayActorError, RuntimeError)):
            result.get(timeout=20)


def test_bad_pools_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pool(0)
    with pytest.raises(ValueError, match="4 CPUs"):
        Pool(5)
    with pytest.raises(TypeError):
        Pool(1, initializer=3)  # type: ignore[arg-type]


def test_what_cannot_be_pickled_is_said_at_once(pool: Pool) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pool.apply(square, (threading.Lock(),))
    assert pool.apply(square, (2,)) == 4
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_a_pool_inside_a_task() -> None:
    @rayhpc.remote
    def nested() -> list[int]:
        with Pool(2) as made:
            return made.map(square, range(4))

    assert rayhpc.get(nested.remote(), timeout=60) == [0, 1, 4, 9]
