"""The views of `rayhpc top` as columns of text: pure functions of what a look has found.

Used by `screen`.  Names that a program has chosen are made harmless here: a terminal obeys escape
sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rayhpc.cli import showing
from rayhpc.observe.live.now import ActorNow, FunctionNow, NodeNow, Now, PendingNow

_UNIT = 10_000
_NOTHING = "-"


@dataclass(frozen=True)
class Column:
    """One column; `sort` is what rows are sorted by (None: they are not).

    The first column of a view is at least `width` wide, and takes what the others leave: at 80
    columns the most important of them are there, the rest is to the right.
    """

    title: str
    text: Callable[[Any], str]
    sort: Callable[[Any], Any] | None = None
    is_number: bool = True
    width: int = 8


@dataclass(frozen=True)
class View:
    """One view: its rows, its columns, and the column that it is sorted by at first."""

    name: str
    rows: Callable[[Now], Sequence[Any]]
    columns: tuple[Column, ...]
    sorted_by: int


def plain(text: str) -> str:
    """A program's text with nothing in it that a terminal obeys."""
    return "".join(x if x.isprintable() else "\N{REPLACEMENT CHARACTER}" for x in text)


def seconds(value: float) -> str:
    """A time in about four characters."""
    if value <= 0:
        return _NOTHING
    if value < 1e-3:
        return f"{value * 1e6:.0f}µs"
    if value < 1:
        return f"{value * 1e3:.{1 if value < 0.01 else 0}f}ms"
    return f"{value:.1f}s" if value < 100 else showing.age(value)


def rate(value: float) -> str:
    """Runs a second."""
    return _NOTHING if value <= 0 else f"{value:,.{1 if value < 10 else 0}f}/s"


def cells(view: View, now: Now, by: int, descending: bool, wanted: str) -> list[list[str]]:
    """The rows of a view as text.

    Args:
        view: it.
        now: what there is.
        by: the column to sort by.
        descending: the largest first.
        wanted: only rows in which this text is (empty: all).
    """
    rows = list(view.rows(now))
    sort = view.columns[by].sort
    if sort is not None:
        rows.sort(key=sort, reverse=descending)
    found = [[column.text(row) for column in view.columns] for row in rows]
    if wanted:
        low = wanted.lower()
        found = [row for row in found if any(low in text.lower() for text in row)]
    return found


def _count(value: float) -> str:
    return f"{value:,.0f}" if value else _NOTHING


def _of(used: float, total: float) -> str:
    return f"{used:g}/{total:g}" if total else _NOTHING


def _bytes(value: float) -> str:
    return showing.size_in_words(value) if value else _NOTHING


def _share_of_store(x: NodeNow) -> str:
    return showing.share_of_size(x.store_used, x.store)


def _state(x: NodeNow) -> str:
    return plain(f"{x.state}: {x.ended}" if x.ended else x.state)


def _node_name(x: NodeNow) -> str:
    return plain(x.name) + (" (head)" if x.is_head else "")


def _actor_name(x: ActorNow) -> str:
    return plain(f"{x.class_name} {x.name}".strip())


def _wants(x: PendingNow) -> str:
    units = {name: round(value * _UNIT) for name, value in x.wants.items()}
    return plain(showing.demand_in_words(units) or "nothing")


def _memory(x: NodeNow) -> str:
    return showing.share_of_size(x.memory_used, x.memory) if x.memory else _NOTHING


def _full(x: NodeNow) -> str:
    return f"{x.store_used / max(1, x.store):.0%}"


def _function(x: FunctionNow) -> str:
    return plain(x.name)


FUNCTIONS = View(
    "Functions",
    lambda now: now.functions,
    (
        Column("function", _function, lambda x: x.name, False, 22),
        Column("rate", lambda x: rate(x.rate), lambda x: (x.rate, x.seconds)),
        Column("runs", lambda x: _count(x.count), lambda x: x.count, width=10),
        Column("failed", lambda x: _count(x.failed), lambda x: x.failed, width=7),
        Column("time", lambda x: seconds(x.seconds), lambda x: x.seconds, width=7),
        Column("p50", lambda x: seconds(x.p50), lambda x: x.p50, width=6),
        Column("p99", lambda x: seconds(x.p99), lambda x: x.p99, width=6),
        Column("longest", lambda x: seconds(x.longest), lambda x: x.longest),
        Column("in get", lambda x: seconds(x.waited), lambda x: x.waited, width=7),
        Column("queued", lambda x: seconds(x.queued), lambda x: x.queued, width=7),
    ),
    sorted_by=1,
)
NODES = View(
    "Nodes",
    lambda now: now.nodes,
    (
        Column("node", _node_name, lambda x: x.number, False, 16),
        Column("state", _state, lambda x: x.state, False, 12),
        Column("CPU", lambda x: _of(x.cpus_used, x.cpus), lambda x: x.cpus_used),
        Column("store", _share_of_store, lambda x: x.store_used, width=12),
        Column("workers", lambda x: _count(x.workers), lambda x: x.workers),
        Column("waiting", lambda x: _count(x.waiting), lambda x: x.waiting),
        Column("GPU", lambda x: _of(x.gpus_used, x.gpus), lambda x: x.gpus_used, width=6),
        Column("memory", _memory, lambda x: x.memory_used, width=12),
        Column("address", lambda x: x.ip, lambda x: x.ip, False, 15),
    ),
    sorted_by=0,
)
ACTORS = View(
    "Actors",
    lambda now: now.actors,
    (
        Column("actor", _actor_name, lambda x: (x.class_name, x.name), False, 20),
        Column("state", lambda x: x.state.lower(), lambda x: x.state, False, 7),
        Column("busy", lambda x: f"{x.busy:.0%}", lambda x: x.busy, width=5),
        Column("calls", lambda x: _count(x.calls), lambda x: x.calls, width=9),
        Column("failed", lambda x: _count(x.failed), lambda x: x.failed, width=7),
        Column("time", lambda x: seconds(x.seconds), lambda x: x.seconds, width=7),
        Column("node", lambda x: plain(x.node), lambda x: x.node, False, 12),
        Column("restarts", lambda x: _count(x.restarts), lambda x: x.restarts, width=9),
        Column("pid", lambda x: str(x.pid or _NOTHING), lambda x: x.pid),
        Column("ended by", lambda x: plain(x.reason), lambda x: x.reason, False, 40),
    ),
    sorted_by=2,
)
STORES = View(
    "Stores",
    lambda now: now.nodes,
    (
        Column("node", _node_name, lambda x: x.number, False, 16),
        Column("in use", lambda x: _bytes(x.store_used), lambda x: x.store_used, width=9),
        Column("size", lambda x: _bytes(x.store), lambda x: x.store, width=9),
        Column("full", _full, lambda x: x.store_used / max(1, x.store), width=5),
        Column("on disk", lambda x: _bytes(x.spilled), lambda x: x.spilled, width=9),
        Column(
            "ever spilled", lambda x: _bytes(x.spilled_ever), lambda x: x.spilled_ever, width=12
        ),
        Column("pulled", lambda x: _bytes(x.pulled), lambda x: x.pulled, width=9),
    ),
    sorted_by=1,
)
PENDING = View(
    "Pending",
    lambda now: now.pending,
    (
        Column("why", lambda x: plain(x.reason), lambda x: x.reason, False, 44),
        Column("waiting", lambda x: _count(x.count), lambda x: x.count),
        Column("wants", _wants, _wants, False, 20),
    ),
    sorted_by=1,
)
VIEWS = (FUNCTIONS, NODES, ACTORS, STORES, PENDING)
