"""`Queue`: between the driver, tasks and actors."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import pytest

import rayhpc
from rayhpc.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
def take(shared: Queue, count: int) -> list[Any]:
    return [shared.get() for _ in range(count)]


@rayhpc.remote
def give(shared: Queue, items: list[Any]) -> None:
    for item in items:
        shared.put(item)


def test_items_come_out_in_order_and_are_counted() -> None:
    shared = Queue()
    assert shared.empty()
    for x in (1, "two", [3]):
        shared.put(x)
    assert (len(shared), shared.qsize(), shared.size(), shared.full()) == (3, 3, 3, False)
    assert [shared.get() for _ in range(3)] == [1, "two", [3]]
    assert shared.empty()


def test_errors_are_also_the_standard_librarys() -> None:
    shared = Queue(maxsize=1)
    with pytest.raises(queue.Empty):
        shared.get(block=False)
    with pytest.raises(Empty):
        shared.get(timeout=0.01)
    shared.put_nowait(1)
    assert shared.full()
    with pytest.raises(queue.Full):
        shared.put(2, block=False)
    with pytest.raises(Full):
        shared.put(2, timeout=0.01)
    assert shared.get(timeout=0) == 1


def test_a_negative_timeout_is_refused() -> None:
    shared = Queue()
    with pytest.raises(ValueError, match="non-negative"):
        shared.get(timeout=-1)
    with pytest.raises(ValueError, match="non-negative"):
        shared.put(1, timeout=-1)


def test_a_batch_goes_in_or_out_whole() -> None:
    shared = Queue(maxsize=3)
    shared.put_nowait_batch([1, 2])
    with pytest.raises(Full):
        shared.put_nowait_batch([3, 4])
    assert shared.get_nowait_batch(2) == [1, 2]
    with pytest.raises(Empty):
        shared.get_nowait_batch(1)
    with pytest.raises(TypeError):
        shared.put_nowait_batch(7)
    with pytest.raises(TypeError):
        shared.get_nowait_batch(1.5)
    with pytest.raises(ValueError):
        shared.get_nowait_batch(-1)


def test_a_waiting_task_gets_what_comes_later() -> None:
    shared = Queue()
    waiting = take.remote(shared, 3)
    rayhpc.get(give.remote(shared, [1, 2, 3]))
    assert rayhpc.get(waiting) == [1, 2, 3]


def test_a_full_queue_holds_the_giver_back() -> None:
    shared = Queue(maxsize=1)
    giving = give.remote(shared, [1, 2, 3])
    assert [shared.get() for _ in range(3)] == [1, 2, 3]
    rayhpc.get(giving)


def test_coroutines_use_it_too() -> None:
    shared = Queue(maxsize=1)

    async def talk() -> list[Any]:
        await shared.put_async(1)
        with pytest.raises(Full):
            await shared.put_async(2, block=False)
        first = await shared.get_async()
        with pytest.raises(Empty):
            await shared.get_async(block=False)
        with pytest.raises(Empty):
            await shared.get_async(timeout=0.01)
        return [first]

    assert asyncio.run(talk()) == [1]


def test_options_of_the_actor_are_taken() -> None:
    Queue(actor_options={"name": "letters", "lifetime": "detached"}).put("a")
    actor = rayhpc.get_actor("letters")
    assert rayhpc.get(actor.qsize.remote()) == 1
    rayhpc.kill(actor)


def test_shutdown_ends_the_actor() -> None:
    shared = Queue()
    actor = shared.actor
    shared.shutdown()
    with pytest.raises(rayhpc.exceptions.RayActorError):
        rayhpc.get(actor.qsize.remote())
    shared.shutdown()
    forced = Queue()
    actor = forced.actor
    forced.shutdown(force=True)
    with pytest.raises(rayhpc.exceptions.RayActorError):
        rayhpc.get(actor.qsize.remote())
