"""From what is seen to what is known: nodes that joined or are gone, machines at their place.

Used by `plan`, first.  Every phase of a machine has a deadline here, and a machine's trouble stays
in its own row.  Decides nothing about how many machines there should be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rayhpc.elastic.book import GOING, QUICK_LOSS_S, Book, Phase, Row
from rayhpc.elastic.types import Machine, MachineState, NodeView
from rayhpc.wire.feasibility import end_of

# A machine that a look at its place does not show counts as gone after so many looks, this far
# apart, if it is older than that: a new one may not be visible yet, an empty answer may be wrong.
_LOOKS = 3
_LOOKS_APART_S = 10.0
_VISIBLE_AFTER_S = 60.0
# A node that was told to drain and is not done by then takes work again.
_DRAIN_S = 900.0


def observe(book: Book, nodes: Sequence[NodeView], machines: Sequence[Machine] | None) -> None:
    """Bring the rows up to date.

    Args:
        book: the rows.
        nodes: the living nodes.
        machines: what the place said; None: it was not asked this time.
    """
    present = {node.machine: node for node in nodes if node.machine}
    _look_at_nodes(book, present)
    if machines is not None:
        _look_at_machines(book, machines, present)
        book.adopted = True
    _expire(book)


def _look_at_nodes(book: Book, present: dict[str, NodeView]) -> None:
    for name, node in present.items():
        if name not in book.rows:
            book.adopt(name, node.node_type, Phase.UP)
        row = book.rows.get(name)
        if row is not None:
            _is_up(book, row, node)
    for row in list(book.rows.values()):
        if row.joined is not None and row.name not in present and row.phase not in GOING:
            # Its machine may live on: it is given back, and counts until the place confirms it.
            book.lost(row)
            book.move(row, Phase.RELEASING, told=0.0)


def _is_up(book: Book, row: Row, node: NodeView) -> None:
    if row.joined is None:
        row = book.note(row, joined=book.now, missing=(0, 0.0), reason="")
        learnt = {k: v for k, v in node.total.items() if not k.startswith("node:")}
        left = end_of(node.labels) - book.now
        is_known = left < math.inf
        book.remember(row.node_type, learnt=learnt, left=(left, book.now) if is_known else None)
    if row.phase not in (Phase.UP, Phase.DRAINING, Phase.RELEASING):
        row = book.move(row, Phase.UP)
    if row.joined is not None and book.now - row.joined >= QUICK_LOSS_S:
        book.remember(row.node_type, failures=0, reason="", quick_losses=0)


def _look_at_machines(
    book: Book, machines: Sequence[Machine], present: dict[str, NodeView]
) -> None:
    shown = {machine.name: machine for machine in machines}
    for machine in machines:
        if machine.name not in book.rows and machine.state is not MachineState.ENDED:
            book.adopt(machine.name, machine.node_type, Phase.PENDING)
    for row in list(book.rows.values()):
        machine_seen = shown.get(row.name)
        if machine_seen is None:
            _is_missing(book, row, is_node=row.name in present)
        else:
            _is_shown(book, row, machine_seen, is_node=row.name in present)


def _is_shown(book: Book, row: Row, machine: Machine, *, is_node: bool) -> None:
    row = book.note(row, missing=(0, 0.0), reason=machine.reason or row.reason)
    if machine.state is MachineState.ENDED:
        if not is_node:
            _is_over(book, row, machine.reason or "it ended before its node had joined")
    elif machine.state is MachineState.RUNNING:
        if row.phase in (Phase.ASKED, Phase.PENDING, Phase.CANCELLING):
            book.move(row, Phase.STARTING)
    elif machine.permanent and row.phase in (Phase.ASKED, Phase.PENDING):
        book.pause(row.node_type, machine.reason or "the place will never provide it")
        book.move(row, Phase.CANCELLING, told=0.0)
    elif row.phase is Phase.ASKED:
        book.move(row, Phase.PENDING)


def _is_missing(book: Book, row: Row, *, is_node: bool) -> None:
    looks, last = row.missing
    if is_node or row.phase is Phase.ASKED or book.now - last < _LOOKS_APART_S:
        return
    row = book.note(row, missing=(looks + 1, book.now))
    if looks + 1 >= _LOOKS and book.now - row.asked >= _VISIBLE_AFTER_S:
        _is_over(book, row, "its place no longer knows it")


def _is_over(book: Book, row: Row, reason: str) -> None:
    del book.rows[row.name]
    if row.phase not in GOING and row.joined is None:
        book.fail(row.node_type, reason)


def _expire(book: Book) -> None:
    for row in list(book.rows.values()):
        waited = book.now - row.since
        limit = book.types[row.node_type].join_seconds if row.node_type in book.types else 0.0
        if row.phase is Phase.STARTING and waited >= limit:
            book.fail(row.node_type, f"{row.name} did not join within {limit:g} s of its start")
            book.move(row, Phase.RELEASING, told=0.0)
        elif row.phase is Phase.DRAINING and waited >= _DRAIN_S and not row.retiring:
            book.move(row, Phase.UP)
