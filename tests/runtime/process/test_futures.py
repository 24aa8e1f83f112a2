"""Futures are completed by what arrives: one that never does holds up no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rayhpc.exceptions import RaySystemError
from rayhpc.runtime.owner.entries import INLINE, STORED, Entry
from rayhpc.runtime.process.futures import Futures
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.messages import objects


class Store:
    """A store in which nothing arrives by itself."""

    def __init__(self) -> None:
        self.asked: dict[bytes, Any] = {}

    def view(self, oid: bytes) -> Any:
        return None

    def fetch(self, oids: list[bytes], promises: list[Any]) -> None:
        self.asked.update(zip(oids, promises, strict=True))


class Core:
    def __init__(self) -> None:
        self.store = Store()
        self.unfinished: dict[Any, None] = {}

    def end_error(self) -> Exception:
        return RaySystemError("The cluster has ended")


class Objects:
    """The rows of a reference table."""

    def __init__(self) -> None:
        self.core = Core()
        self.table: dict[bytes, Entry] = {}

    def add(self, number: int, state: int, value: Any) -> ObjectRef[Any]:
        oid = number.to_bytes(28, "big")
        self.table[oid] = Entry(state=state, value=value)
        return ObjectRef(oid, True)

    def entry_of(self, ref: ObjectRef[Any]) -> Entry:
        return self.table[ref.binary()]

    def when_ready(self, ref: ObjectRef[Any], callback: Any) -> None:
        self.entry_of(ref).when_ready(callback)


@pytest.fixture
def here() -> Any:
    return Objects()


def test_a_value_that_does_not_come_holds_up_no_other(here: Any) -> None:
    futures = Futures(here)
    large = futures.future_of(here.add(1, STORED, 2))
    small = futures.future_of(
        here.add(2, INLINE, serialization.to_inline(serialization.serialize(5)))
    )
    assert small.result(timeout=60) == 5
    assert not large.done()


def test_an_awaited_value_that_does_not_come_holds_up_no_other(here: Any) -> None:
    futures = Futures(here)

    async def go() -> Any:
        loop = asyncio.get_running_loop()
        large = futures.awaitable_of(here.add(1, STORED, 2), loop)
        inline = serialization.to_inline(serialization.serialize(5))
        small = await asyncio.wait_for(futures.awaitable_of(here.add(2, INLINE, inline), loop), 60)
        assert not large.done()
        return small

    assert asyncio.run(go()) == 5


def test_what_is_on_its_way_ends_with_the_cluster(here: Any) -> None:
    futures = Futures(here)
    large = futures.future_of(here.add(1, STORED, 2))
    (arrival,) = here.core.unfinished
    arrival.end()
    with pytest.raises(RaySystemError):
        large.result(timeout=60)


def test_what_is_made_again_is_waited_for_again(here: Any) -> None:
    futures = Futures(here)
    ref = here.add(1, STORED, 2)
    future = futures.future_of(ref)
    entry = here.entry_of(ref)
    entry.state = INLINE
    entry.value = serialization.to_inline(serialization.serialize("again"))
    here.core.store.asked[ref.binary()].fill(
        objects.FetchFailed(ref.binary(), objects.VALUE, entry.value)
    )
    assert future.result(timeout=60) == "again"
    assert not here.core.unfinished
