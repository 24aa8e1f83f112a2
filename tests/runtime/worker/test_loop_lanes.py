"""Calls of an async actor in its event loop: each ends with an answer, however it is cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import queue
from types import SimpleNamespace
from typing import Any

import pytest

from rayhpc.runtime.worker.actor_calls import Item
from rayhpc.runtime.worker.execution import Outcome
from rayhpc.runtime.worker.loop_lanes import LoopLanes
from rayhpc.wire.messages import tasks


class Host:
    """An actor whose calls run until they are cancelled."""

    spec = SimpleNamespace(max_concurrency=1, groups={})

    def __init__(self) -> None:
        self.begun: queue.Queue[bytes] = queue.Queue()
        self.ended: queue.Queue[tuple[bytes, str]] = queue.Queue()

    def hold_back(self, item: Item) -> bool:
        return False

    async def run_async(self, item: Item) -> Outcome | None:
        self.begun.put(item.call.tid)
        await asyncio.sleep(60)
        return None

    def interrupted(self, call: tasks.Call, error: BaseException) -> Outcome:
        return Outcome(tasks.Result(call.tid, tasks.CANCELLED, [b"it ran"]))

    def end_call(self, caller: int, tid: bytes, outcome: Outcome | None) -> None:
        assert outcome is not None
        self.ended.put((tid, bytes(outcome.result.outs[0]).decode()))


def item(number: int) -> Item:
    return Item(7, tasks.Call(bytes([number]) * 28, "work", b""))


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_call_that_is_cancelled_before_the_loop_comes_to_it(host: Any) -> None:
    lanes = LoopLanes(host)
    one = item(1)

    def both() -> None:
        lanes.start("", [one])
        lanes.cancel(one.call.tid)

    lanes._lanes[""].loop.call_soon_threadsafe(both)
    assert host.ended.get(timeout=20) == (one.call.tid, "")
    assert host.begun.empty()


def test_calls_that_run_or_wait_for_room(host: Any) -> None:
    lanes = LoopLanes(host)
    one, two = item(1), item(2)
    lanes.start("", [one, two])
    assert host.begun.get(timeout=20) == one.call.tid
    lanes.cancel(two.call.tid)
    assert host.ended.get(timeout=20) == (two.call.tid, "")
    lanes.cancel(one.call.tid)
    assert host.ended.get(timeout=20) == (one.call.tid, "it ran")
    assert lanes.queued() == []


class Ending(Host):
    """An actor whose calls end at once, having looked at and set a context variable."""

    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")

    async def run_async(self, item: Item) -> Outcome | None:
        told = self.seen.get().encode()
        self.seen.set("an earlier call's")
        await asyncio.sleep(0)
        self.begun.put(item.call.tid)
        return Outcome(tasks.Result(item.call.tid, tasks.OK, [told]))


def test_calls_that_wait_for_room_run_in_order_and_inherit_nothing() -> None:
    host: Any = Ending()
    lanes = LoopLanes(host)
    items = [item(number) for number in range(20)]
    lanes.start("", items[:10])
    lanes.start("", items[10:])
    tids = [x.call.tid for x in items]
    assert [host.begun.get(timeout=20) for _ in tids] == tids
    assert [host.ended.get(timeout=20) for _ in tids] == [(tid, "nothing") for tid in tids]
