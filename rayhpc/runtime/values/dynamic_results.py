"""The value of a task with num_returns="dynamic": references to what it yielded.

Pickled by `owner.results`, unpickled wherever the task's result is read.  Only holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.references import ObjectRef, rebuild
from rayhpc.wire.address import ObjectId


class DynamicObjectRefGenerator:
    """The references of a task with num_returns='dynamic': can be iterated any number of times."""

    def __init__(self, refs: list[ObjectRef[Any]]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[Any]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, index: int) -> ObjectRef[Any]:
        return self._refs[index]


def pickled(items: list[ObjectId]) -> bytes:
    """The generator of these items, without the small values otherwise sent with references."""
    return serialization.to_inline(serialization.serialize(_Items(items)))


class _Items:
    """Pickled as the generator of its items."""

    def __init__(self, items: list[ObjectId]) -> None:
        self._items = items

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _generator_of, (self._items,)


def _generator_of(items: list[ObjectId]) -> DynamicObjectRefGenerator:
    return DynamicObjectRefGenerator([rebuild(oid, None, False) for oid in items])
