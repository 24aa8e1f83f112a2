"""Views that are kept for a moment: for how long, how many, and that they hold nothing up."""

from __future__ import annotations

import weakref

from rayhpc.runtime.owner.entries import Entry
from rayhpc.runtime.owner.recent_views import KEEP_S, MOST, RecentViews


class View:
    """Stands for an exporter."""


class Clock:
    """A time that is set by hand."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_view_is_kept_for_a_moment() -> None:
    clock, table = Clock(), {b"a": Entry()}
    recent = RecentViews(table, clock)
    assert recent.deadline() is None
    recent.keep(b"a", table[b"a"], View())
    view = weakref.ref(table[b"a"].view)
    assert recent.deadline() == clock.time + KEEP_S
    clock.time += KEEP_S * 0.9
    recent.on_time()
    assert view() is not None
    clock.time += KEEP_S * 0.2
    recent.on_time()
    assert view() is None
    assert recent.deadline() is None


def test_a_view_goes_with_the_last_reference() -> None:
    table = {b"a": Entry()}
    recent = RecentViews(table, Clock())
    recent.keep(b"a", table[b"a"], View())
    view = weakref.ref(table[b"a"].view)
    del table[b"a"]
    assert view() is None
    recent.on_time()


def test_few_views_are_kept() -> None:
    table = {bytes([i]): Entry() for i in range(MOST + 2)}
    recent = RecentViews(table, Clock())
    for oid, entry in table.items():
        recent.keep(oid, entry, View())
    assert [entry.view is not None for entry in table.values()] == [False] * 2 + [True] * MOST
