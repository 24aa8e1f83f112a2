"""The directory alone: what it makes of messages that overtake each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rayhpc.raylet.objects import directory
from rayhpc.raylet.objects.directory import Directory
from rayhpc.wire.address import make_address, make_object_id
from rayhpc.wire.messages import objects

OWNER = make_address(1, 3)
OBJECT = make_object_id(OWNER, 1)


def made() -> tuple[Directory, list[Any]]:
    """The directory of node 1, which has no object itself, and what it says to other nodes."""
    said: list[Any] = []
    context = SimpleNamespace(node=1, dead=set(), post=lambda node, m: said.append((node, m)))
    table = SimpleNamespace(writing={}, get=lambda oid: None, drop=lambda *_: None)
    return Directory(context, table), said  # type: ignore[arg-type]


def test_an_object_that_is_freed_before_anyone_says_where_it_is_goes_when_they_do() -> None:
    found, said = made()
    found.on_free(OWNER, [OBJECT])
    assert said == []
    found.on_object_at(objects.ObjectAt(OBJECT, 10, 2))
    assert said == [(2, objects.DropCopies([OBJECT]))]
    assert not found._owners
    assert not found._freed_early


def test_only_its_owner_frees_an_object() -> None:
    found, said = made()
    found.on_free(OWNER + 1, [OBJECT])
    found.on_object_at(objects.ObjectAt(OBJECT, 10, 2))
    assert said == []
    assert found.copies(OBJECT) == [2]


def test_a_limited_number_is_remembered(monkeypatch: Any) -> None:
    monkeypatch.setattr(directory, "_FREED_EARLY", 3)
    found, _ = made()
    ids = [make_object_id(OWNER, i) for i in range(1, 6)]
    found.on_free(OWNER, ids)
    assert list(found._freed_early) == ids[2:]
