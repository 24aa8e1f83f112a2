"""What a place's answer to an ask means for the planner's memory.

Called by `loop` after each ask.  No answer at all needs nothing: the rows stay as they are, and the
planner asks again under the same names.
"""

from __future__ import annotations

from collections.abc import Sequence

from rayhpc.elastic.book import Book, Phase, State
from rayhpc.elastic.types import Ask, NodeType


def accepted(state: State, types: Sequence[NodeType], ask: Ask, now: float) -> State:
    """The place will provide them."""
    book = Book(state, types, now)
    for name in ask.names:
        row = book.rows.get(name)
        if row is not None and row.phase is Phase.ASKED:
            book.move(row, Phase.PENDING)
    return book.state()


def unknown(state: State, types: Sequence[NodeType], ask: Ask, now: float, reason: str) -> State:
    """The place failed or did not answer: it may have heard, so they are asked for again later."""
    book = Book(state, types, now)
    book.fail(ask.node_type, reason)
    return book.state()


def not_now(state: State, types: Sequence[NodeType], ask: Ask, now: float, reason: str) -> State:
    """The place has no such machine: nothing has come of the ask."""
    book = Book(state, types, now)
    _forget(book, ask)
    book.fail(ask.node_type, reason)
    return book.state()


def refused(state: State, types: Sequence[NodeType], ask: Ask, now: float, reason: str) -> State:
    """The place never will."""
    book = Book(state, types, now)
    _forget(book, ask)
    book.pause(ask.node_type, reason)
    return book.state()


def resumed(state: State, types: Sequence[NodeType], node_type: str, now: float) -> State:
    """The user says that a type's trouble is over."""
    book = Book(state, types, now)
    if node_type in book.memory:
        book.remember(node_type, paused="", reason="", failures=0, not_before=0.0, quick_losses=0)
    return book.state()


def _forget(book: Book, ask: Ask) -> None:
    """Nothing came of this ask; of an earlier one under the same name something still may."""
    for name in ask.names:
        row = book.rows.get(name)
        if row is None or row.phase is not Phase.ASKED:
            continue
        if row.told == row.asked:
            del book.rows[name]
        else:
            book.move(row, Phase.CANCELLING, told=0.0)
