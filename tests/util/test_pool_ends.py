"""`Pool`: what is left of it and of its work when calls fail, it is terminated, or all ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc
from rayhpc.exceptions import RayActorError, RaySystemError
from rayhpc.util.futures import Executor
from rayhpc.util.multiprocessing import Pool


@rayhpc.remote
class Gate:
    def __init__(self) -> None:
        self._open = threading.Event()
        self._waiting = threading.Semaphore(0)

    def wait(self) -> None:
        self._waiting.release()
        self._open.wait()

    def waiting(self, count: int) -> None:
        for _ in range(count):
            self._waiting.acquire()


def gate() -> Any:
    return Gate.options(num_cpus=0, max_concurrency=100).remote()  # type: ignore[attr-defined]


def hold(held: Any) -> None:
    rayhpc.get(held.wait.remote())


def two_fails(x: int) -> int:
    if x == 2:
        raise KeyError("two")
    return x


def two_dies(x: int) -> int:
    if x == 2:
        os._exit(1)
    return x


def each(iterator: Any) -> list[Any]:
    """Everything an iterator gives, errors by the name of their class."""
    found: list[Any] = []
    while True:
        try:
            found.append(iterator.next())
        except StopIteration:
            return found


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_an_error_is_an_item_and_the_rest_of_its_chunk_stays(nodes: int, chunk: int) -> None:
    with Pool(2) as pool:
        for found in (
            each(pool.imap(two_fails, range(8), chunksize=chunk)),
            sorted(
                each(pool.imap_unordered(two_fails, range(8), chunksize=chunk)),
                key=lambda x: 2 if isinstance(x, Exception) else x,
            ),
        ):
            error = found[2]
            assert [*found[:2], *found[3:]] == [0, 1, 3, 4, 5, 6, 7]
            assert isinstance(error, KeyError)
            assert error.args == ("two",)
            assert "two_fails" in str(error)


def test_a_process_that_dies_takes_its_chunk_alone(nodes: int) -> None:
    with Pool(1) as pool:
        found = each(pool.imap(two_dies, range(8), chunksize=4))
    assert found[4:] == [4, 5, 6, 7]
    assert [isinstance(x, RayActorError) for x in found[:4]] == [True] * 4


@pytest.mark.parametrize("how", ["map_async", "imap", "apply_async"])
def test_nothing_is_left_of_a_pool_that_was_terminated(nodes: int, how: str) -> None:
    held = gate()
    pool = Pool(2)
    started: dict[str, Callable[[], Any]] = {
        "map_async": lambda: pool.map_async(hold, [held] * 40, chunksize=1),
        "imap": lambda: pool.imap(hold, [held] * 40),
        "apply_async": lambda: [pool.apply_async(hold, (held,)) for _ in range(40)],
    }
    result = started[how]()
    rayhpc.get(held.waiting.remote(2))
    made: list[Any] = []
    for child in pool._children:
        child._actor_class = _Recorder(made, child._actor_class)
    pool.terminate()
    pool.join()
    # Every item has ended by now, and none had a process made in place of one that was killed.
    assert pool._dispatcher.is_idle()
    assert made == []
    if how == "apply_async":
        for each_result in result:
            with pytest.raises((RayActorError, RuntimeError)):
                each_result.get(timeout=0)
    elif how == "map_async":
        with pytest.raises((RayActorError, RuntimeError)):
            result.get(timeout=0)
    else:
        assert all(isinstance(x, Exception) for x in each(result))


class _Recorder:
    def __init__(self, made: list[Any], actor_class: Any) -> None:
        self._made = made
        self._actor_class = actor_class

    def remote(self, *args: Any) -> Any:
        self._made.append(args)
        return self._actor_class.remote(*args)


def test_who_waits_when_the_program_leaves_the_cluster_gets_an_error() -> None:
    """In a cluster of its own, since that goes."""
    rayhpc.shutdown()
    rayhpc.init(num_cpus=2)
    held = gate()
    pool, executor = Pool(2), Executor(max_workers=1, num_cpus=0)
    started = [pool.apply_async(hold, (held,)), executor.submit(hold, held)]
    waiting = [pool.apply_async(hold, (held,)), executor.submit(hold, held)]
    rayhpc.get(held.waiting.remote(2))
    errors: list[BaseException | None] = [None, None]

    def wait(index: int, take: Callable[[], Any]) -> None:
        try:
            take()
        except Exception as error:
            errors[index] = error

    threads = [
        threading.Thread(target=wait, args=(0, pool.map_async(hold, [held]).get)),
        threading.Thread(target=wait, args=(1, started[1].result)),
    ]
    for thread in threads:
        thread.start()
    rayhpc.shutdown()
    for thread in threads:
        thread.join(30)
    assert not rayhpc.is_initialized()
    assert [isinstance(x, RaySystemError) for x in errors] == [True, True], errors
    for result in (started[0], waiting[0]):
        with pytest.raises(RaySystemError):
            result.get(timeout=30)
    with pytest.raises(RaySystemError):
        waiting[1].result(timeout=30)
    with pytest.raises(RaySystemError):
        pool.apply(hold, (held,))
    pool.terminate()
    pool.join()
    executor.shutdown()
    assert not rayhpc.is_initialized()
