"""The budget of small values: what is too much goes to the store, the oldest first."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from rayhpc.runtime.owner import inline_values
from rayhpc.runtime.owner.entries import ERROR, INLINE, STORED, Entry
from rayhpc.runtime.owner.inline_values import BUDGET_BYTES, InlineValues
from rayhpc.runtime.values import serialization, stored
from rayhpc.runtime.values.store_client import StoreClient
from rayhpc.store.arena import Arena
from rayhpc.store.mapping import Mapping
from rayhpc.wire.address import make_address, make_object_id, raylet_of
from rayhpc.wire.messages import objects

ME = make_address(1, 1)
VALUE = 90_000
ARENA = 32 << 20


class Side:
    """A process with a store that gives places one after the other, when it is let."""

    def __init__(self) -> None:
        self.arena = Arena.create(ARENA)
        self.mapping = Mapping(self.arena.fd, ARENA)
        self.sent: list[Any] = []
        self.store = StoreClient(self.mapping, raylet_of(1), self._send)
        self.values = InlineValues(self.store, 1, self._send)
        self.table: dict[bytes, Entry] = {}
        self.places: dict[bytes, tuple[int, int]] = {}
        self._next = 0

    def _send(self, _: int, message: Any) -> None:
        self.sent.append(message)

    def add(self, size: int = VALUE) -> bytes:
        oid = make_object_id(ME, len(self.table) + 1)
        value = len(self.table).to_bytes(4, "big") * (size // 4)
        entry = self.table[oid] = Entry()
        entry.value, entry.state = serialization.to_inline(serialization.serialize(value)), INLINE
        self.values.note(oid, entry)
        return oid

    def fill(self) -> list[bytes]:
        found = []
        while self.values.has_room(VALUE):
            found.append(self.add())
            self.values.settle()
        return found

    def answer(self, is_full: bool = False) -> int:
        """Answer what the store was asked; how many."""
        asked = [m for m in self.sent if isinstance(m, objects.StoreCreate)]
        self.sent = [m for m in self.sent if not isinstance(m, objects.StoreCreate)]
        for message in asked:
            offset = -1
            if not is_full:
                offset, self._next = self._next, self._next + (message.size + 4095) // 4096 * 4096
                self.places[message.oid] = offset, message.size
            self.store.on_created(objects.StoreCreated(message.oid, offset, "full"))
        self.values.settle()
        return len(asked)

    def take(self, kind: type) -> list[Any]:
        found = [m for m in self.sent if isinstance(m, kind)]
        self.sent = [m for m in self.sent if not isinstance(m, kind)]
        return found


@pytest.fixture
def side() -> Iterator[Side]:
    made = Side()
    yield made
    made.store.close()
    made.arena.close()


def test_within_the_budget_nothing_is_moved(side: Side) -> None:
    found = side.fill()
    assert len(found) > 700
    assert BUDGET_BYTES - VALUE < side.values.total <= BUDGET_BYTES
    assert side.sent == []
    assert not side.values.has_room(VALUE)
    assert side.values.has_room(100)


def test_the_oldest_go_to_the_store_and_can_be_read_there(side: Side) -> None:
    found = side.fill()
    found += [side.add() for _ in range(5)]
    side.values.settle()
    while side.answer():
        pass
    moved = [x for x in found if side.table[x].state == STORED]
    assert moved == found[: len(moved)]
    assert 5 <= len(moved) <= 6
    assert side.values.total <= BUDGET_BYTES
    assert [m.oid for m in side.take(objects.StoreSeal)] == moved
    for number, oid in enumerate(moved):
        assert side.table[oid].value == 1
        offset, size = side.places[oid]
        view = side.mapping.export(offset, size, [], oid)
        assert stored.read(view) == number.to_bytes(4, "big") * (VALUE // 4)


def test_a_value_that_goes_while_it_is_moved_is_freed_there(side: Side) -> None:
    found = side.fill()
    side.add()
    side.values.settle()
    gone = found[0]
    side.table.pop(gone)
    side.values.forget(gone)
    side.answer()
    assert [m.oids for m in side.take(objects.Free)] == [[gone]]
    assert [m.oid for m in side.take(objects.StoreSeal)] == [gone]


def test_a_full_store_is_not_asked_again_at_once(side: Side) -> None:
    side.fill()
    side.add()
    side.values.settle()
    assert side.answer(is_full=True) == 1
    side.add()
    side.values.settle()
    assert side.answer() == 0
    for _ in range(inline_values.PAUSE_BYTES // VALUE + 1):
        side.add()
    side.values.settle()
    assert side.answer() > 0


def test_whatever_comes_and_goes_is_counted(side: Side) -> None:
    rng = random.Random(os.environ.get("SEED", "1"))
    for _ in range(3000):
        if rng.random() < 0.7 or not side.table:
            side.add(rng.choice([2000, VALUE]))
        else:
            oid = rng.choice(list(side.table))
            entry = side.table[oid]
            if entry.state == INLINE:
                side.values.forget(oid)
            if rng.random() < 0.5:
                entry.state, entry.value = ERROR, b"freed"
            else:
                side.table[oid] = Entry(state=ERROR)
        if rng.random() < 0.1:
            side.values.settle()
        if rng.random() < 0.1:
            side.answer(is_full=rng.random() < 0.3)
    side.values.settle()
    there = [x for x in side.table.values() if x.state == INLINE]
    assert side.values.total == sum(len(x.value) for x in there)
