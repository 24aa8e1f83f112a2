"""Nodes whose time is nearly over: they take no new work some while before, and not all at once.

Used by `plan`.  A machine with a time limit is ended by its place, with whatever runs on it.  So
its node is drained while what runs there may still end; what waits then asks for another.  Machines
that began together would end together, and the cluster would be empty for as long as the queue
takes: each therefore goes a little earlier than the one before.
"""

from __future__ import annotations

from rayhpc.elastic.book import Book, Phase, Row, lead_of
from rayhpc.elastic.types import NodeType

# Up to this share of its life earlier.  Multiples of the golden ratio spread evenly, however many.
_STAGGER, _GOLDEN = 0.05, 0.618034


def retire(book: Book) -> list[str]:
    """Drain nodes for good; their names."""
    found = []
    for name, kind in book.types.items():
        for row in list(book.of(name, Phase.UP)):
            if book.now >= _time_to_go(kind, row):
                book.move(row, Phase.DRAINING, told=book.now, retiring=True)
                found.append(row.name)
    return found


def _time_to_go(kind: NodeType, row: Row) -> float:
    if kind.life_seconds is None or row.joined is None:
        return float("inf")
    lead = lead_of(kind.life_seconds)
    number = row.name.rpartition("-")[2]
    share = int(number) * _GOLDEN % 1.0 if number.isdecimal() else 0.0
    return row.joined + kind.life_seconds - lead - _STAGGER * kind.life_seconds * share
