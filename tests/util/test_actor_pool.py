"""`ActorPool`."""

from __future__ import annotations

from typing import Any

import pytest

import rayhpc
from rayhpc.util import ActorPool

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
class Doubler:
    def double(self, x: int) -> int:
        return 2 * x

    def after(self, gate: list[Any], x: int) -> int:
        rayhpc.get(gate)
        return x

    def fail(self, x: int) -> int:
        raise KeyError(x)


@rayhpc.remote
class Gate:
    """Holds calls back until it is opened."""

    def __init__(self) -> None:
        import asyncio

        self._open = asyncio.Event()

    async def open(self) -> None:
        self._open.set()

    async def wait(self) -> None:
        await self._open.wait()


def double(actor: Any, x: int) -> Any:
    return actor.double.remote(x)


def test_map_keeps_the_order_and_every_value() -> None:
    pool = ActorPool([Doubler.remote() for _ in range(2)])
    assert list(pool.map(double, range(20))) == [2 * x for x in range(20)]
    assert not pool.has_next()
    assert pool.has_free()


def test_map_unordered_gives_what_is_there_first() -> None:
    gate = Gate.remote()
    pool = ActorPool([Doubler.remote() for _ in range(2)])

    def call(actor: Any, x: int) -> Any:
        return actor.after.remote([gate.wait.remote()], x) if x == 0 else actor.double.remote(x)

    results = pool.map_unordered(call, range(4))
    assert sorted([next(results) for _ in range(3)]) == [2, 4, 6]
    gate.open.remote()
    assert list(results) == [0]


def test_submit_waits_for_a_free_actor_and_get_next_keeps_order() -> None:
    pool = ActorPool([Doubler.remote()])
    for x in range(3):
        pool.submit(double, x)
    assert not pool.has_free()
    assert len(pool._pending_submits) == 2
    assert len(pool._future_to_actor) == 1
    assert [pool.get_next() for _ in range(3)] == [0, 2, 4]
    assert pool._next_task_index == 3
    assert len(pool._idle_actors) == 1
    with pytest.raises(StopIteration):
        pool.get_next()


def test_a_failed_call_raises_in_its_turn_and_the_actor_goes_on() -> None:
    pool = ActorPool([Doubler.remote()])
    pool.submit(lambda actor, x: actor.fail.remote(x), 1)
    pool.submit(double, 5)
    with pytest.raises(KeyError):
        pool.get_next()
    assert pool.get_next() == 10


def test_a_timeout_leaves_the_result_and_ignoring_gives_it_up() -> None:
    gate = Gate.remote()
    pool = ActorPool([Doubler.remote(), Doubler.remote()])
    pool.submit(lambda actor, x: actor.after.remote([gate.wait.remote()], x), 1)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01)
    assert pool.has_next()
    with pytest.raises(TimeoutError):
        pool.get_next_unordered(timeout=0.01, ignore_if_timedout=True)
    assert not pool.has_next()
    gate.open.remote()


def test_actors_come_and_go() -> None:
    first, second = Doubler.remote(), Doubler.remote()
    pool = ActorPool([first])
    with pytest.raises(ValueError, match="already"):
        pool.push(first)
    assert pool.pop_idle() == first
    assert pool.pop_idle() is None
    pool.push(second)
    assert list(pool.map(double, [4])) == [8]


def test_a_subclass_may_use_the_private_attributes() -> None:
    class Counting(ActorPool):
        def submit(self, fn: Any, value: Any) -> None:
            super().submit(fn, value)
            self.indices = [*getattr(self, "indices", []), self._next_task_index]

    pool = Counting([Doubler.remote(), Doubler.remote()])
    assert list(pool.map(double, [1, 2, 3])) == [2, 4, 6]
    assert max(pool.indices) == 3
