"""A process's side of the store: what keeps an object pinned, and for how long."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from rayhpc.runtime.values.store_client import Tickets


class Exporter:
    """Stands for a pinned view: it is pinned as long as this lives."""


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_tickets_are_complete_once_all_boxes_are_filled() -> None:
    done: list[bool] = []
    tickets = Tickets([b"a", b"b"], lambda: done.append(True))
    tickets.promises[1].fill(2)
    assert done == []
    tickets.promises[0].fill(1)
    assert done == [True]
    assert tickets.values() == {b"a": 1, b"b": 2}


@pytest.mark.parametrize("filled", [1, 2])
def test_tickets_let_go_of_what_came_without_the_collector(filled: int) -> None:
    tickets = Tickets([b"a", b"b"], lambda: None)
    exporters = [Exporter() for _ in range(filled)]
    for promise, exporter in zip(tickets.promises, exporters, strict=False):
        promise.fill(exporter)
    pinned = [weakref.ref(x) for x in exporters]
    del tickets, promise, exporter
    exporters.clear()
    assert [x() for x in pinned] == [None] * filled
