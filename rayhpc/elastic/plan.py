"""The planner: from what waits and what is there to what is asked for and given back.

Called by `loop`, and by the simulation in `tests/elastic`.  A pure function: no clock, no I/O, no
randomness; what it remembers goes in and comes out as a `State`.  It decides on demand minus all
that is there, coming or just asked for, so that a late or lost answer never asks for anything
twice; there are never more than a type's `max_nodes`, those on their way out included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rayhpc.elastic.book import COMING, Book, Phase, Row, State
from rayhpc.elastic.explaining import explain
from rayhpc.elastic.observing import observe
from rayhpc.elastic.packing import Bin, Packing, bin_of_type
from rayhpc.elastic.retiring import retire
from rayhpc.elastic.types import Ask, Demand, NodeType, NodeView, Plan, Seen
from rayhpc.wire.feasibility import end_of

# What waits must have done so for this long: most of it finds room meanwhile.
PATIENCE_S = 0.2
# The next step is as long after the one before, and twice as large.
STEP_S = 1.0
# The step begins anew when nothing has been unmet for so long.
_CALM_S = 10.0
# The place is told again what it has not confirmed.
ASK_AGAIN_S = 10.0
TELL_AGAIN_S = 30.0
# And a node, which hears at once unless it is gone.
NODE_AGAIN_S = 5.0


def plan(
    seen: Seen, types: Sequence[NodeType], now: float, state: State, most: int | None = None
) -> tuple[Plan, State]:
    """What to do now.

    Args:
        seen: demand and supply at one instant.
        types: the node types there are.
        now: the time in seconds since 1970, as in the nodes' labels about their ends.
        state: what was remembered; `State()` at first.
        most: how many machines of all types together there may be; None: as the types say.

    Returns:
        The plan, and what is to be remembered.  Remember it before acting on the plan.
    """
    book = Book(state, types, now, most)
    observe(book, seen.nodes, seen.machines)
    retired = retire(book)
    nodes = {node.machine: node for node in seen.nodes if node.machine}
    packing = _pack(book, seen)
    used = {place.machine for place in packing.bins if place.used and place.machine}
    undrains = _undrain(book, nodes, used)
    asks = _ask(book, packing)
    cancels = _cancel(book, nodes, used)
    drains = (*retired, *_drain(book, nodes, used))
    releases = _release(book, nodes)
    lines = explain(book, packing, asks, drains, nodes)
    return Plan(asks, cancels, drains, undrains, releases, lines), book.state()


# -- what is needed ------------------------------------------------------------------------------
def _pack(book: Book, seen: Seen) -> Packing:
    resources = {name: book.resources(name) for name in book.types}
    room = {name: _room(book, name) for name in book.types}
    bins, left = _bins(book, seen.nodes), book.room_for_all()
    lasts = {name: book.lasts(name) for name in book.types}
    packing = Packing(bins, book.types.values(), resources, lasts, room, left)
    packing.put_all(seen.wanted.gangs, seen.wanted.tasks)
    _put_floor(packing, [Demand(each, waits_for="requested bundles") for each in seen.wanted.floor])
    return packing


def _room(book: Book, name: str) -> int:
    """Of a type of which nothing is known one machine is tried first."""
    room = book.room(name)
    return room if book.resources(name) else min(room, int(not book.count(name)))


def _bins(book: Book, nodes: Sequence[NodeView]) -> list[Bin]:
    """All room, in the order in which it is to be used: what can end soon comes last."""
    open_nodes = [node for node in nodes if not _is_leaving(book, node)]
    open_nodes.sort(key=lambda node: (bool(node.machine), not node.busy, node.machine))
    found = [_bin_of_node(node, book.now) for node in open_nodes]
    by_machine = {node.machine: node for node in nodes if node.machine}
    for row in book.rows.values():
        if row.phase is Phase.DRAINING and not row.retiring and row.name in by_machine:
            found.append(_bin_of_node(by_machine[row.name], book.now))
    for phase in reversed(COMING):
        for name, kind in book.types.items():
            for row in book.of(name, phase):
                has, lasts = book.resources(name), book.lasts(name)
                found.append(bin_of_type(kind, has, lasts, row.name))
    return found


def _is_leaving(book: Book, node: NodeView) -> bool:
    row = book.rows.get(node.machine)
    return node.draining or (row is not None and row.phase is not Phase.UP)


def _bin_of_node(node: NodeView, now: float) -> Bin:
    return Bin(
        dict(node.free),
        node.labels,
        node_id=node.node_id,
        machine=node.machine,
        node_type=node.node_type,
        total=dict(node.total),
        lasts=end_of(node.labels) - now,
    )


def _put_floor(packing: Packing, floor: list[Demand]) -> None:
    """Room wanted in any case: as if nothing were in use."""
    if not floor:
        return
    free = [(place, place.free) for place in packing.bins]
    for place in packing.bins:
        place.free = dict(place.total)
    packing.put_all((), floor)
    for place, before in free:
        place.free = before


# -- growing -------------------------------------------------------------------------------------
def _ask(book: Book, packing: Packing) -> tuple[Ask, ...]:
    asks = list(_ask_again(book))
    for name, kind in book.types.items():
        needed = packing.new[name]
        _note_unmet(book, name, needed)
        short = max(0, kind.min_nodes - book.staying(name))
        at_once = max(short, packing.together[name])
        room = min(_room(book, name), book.room_for_all())
        count = min(room, max(needed, short), max(at_once, _step(book, name)))
        if count > 0:
            if count > at_once:
                step = 2 * book.memory[name].step
                book.remember(name, step=min(step, kind.max_nodes), stepped=book.now)
            why = packing.why.get(name) if needed else f"at least {kind.min_nodes} are kept"
            asks.append(Ask(name, book.new(name, count), why or ""))
    return tuple(asks)


def _note_unmet(book: Book, name: str, needed: int) -> None:
    memory = book.memory[name]
    if needed and memory.unmet is None:
        book.remember(name, unmet=book.now)
    elif not needed:
        calm = book.now - memory.stepped >= _CALM_S
        book.remember(name, unmet=None, step=1 if calm else memory.step)


def _step(book: Book, name: str) -> int:
    """How many may be asked for now because of single tasks."""
    memory = book.memory[name]
    if memory.unmet is None or book.now - memory.unmet < PATIENCE_S:
        return 0
    return memory.step if book.now - memory.stepped >= STEP_S else 0


def _ask_again(book: Book) -> list[Ask]:
    """What was asked for without an answer, under the same names."""
    found = []
    for name in book.types:
        memory = book.memory[name]
        if memory.paused or book.now < memory.not_before:
            continue
        silent = _due(book, book.of(name, Phase.ASKED), ASK_AGAIN_S)
        if silent:
            found.append(Ask(name, tuple(silent), "no answer came"))
    return found


# -- shrinking -----------------------------------------------------------------------------------
def _undrain(book: Book, nodes: dict[str, NodeView], used: set[str]) -> tuple[str, ...]:
    """Nodes that are needed after all, or that turned out to be in use."""
    found = []
    for name, kind in book.types.items():
        short = kind.min_nodes - book.staying(name)
        for row in list(book.of(name, Phase.DRAINING)):
            node = nodes.get(row.name)
            if node is None or row.retiring:
                continue
            if row.name in used or node.busy or short > 0:
                book.move(row, Phase.UP, told=book.now)
                found.append(row.name)
                short -= 1
        still = (row for row in book.of(name, Phase.UP) if _drains(nodes, row))
        found += _due(book, still, NODE_AGAIN_S)
    return tuple(dict.fromkeys(found))


def _drains(nodes: dict[str, NodeView], row: Row) -> bool:
    node = nodes.get(row.name)
    return node is not None and node.draining


def _cancel(book: Book, nodes: dict[str, NodeView], used: set[str]) -> tuple[str, ...]:
    """What is not there yet and nobody has needed for a while: a shorter one if a node is idle.

    One that has started may have work before the place hears of it: it joins, and is drained.
    """
    found = []
    for name, kind in book.types.items():
        spare = book.staying(name) - kind.min_nodes
        patience = kind.keep_pending_seconds
        if _idle(book, kind, nodes, used):
            patience = min(patience, kind.idle_seconds)
        for row in reversed(list(book.of(name, Phase.ASKED, Phase.PENDING))):
            # One that was asked for just now: what it is for has not been put there yet.
            is_new = row.asked == row.told == book.now
            if row.name in used or is_new or spare <= 0:
                book.note(row, unwanted=None)
                continue
            spare -= 1
            unwanted = book.now if row.unwanted is None else row.unwanted
            book.note(row, unwanted=unwanted)
            if book.now - unwanted >= patience:
                book.move(book.rows[row.name], Phase.CANCELLING, told=0.0)
        found += _due(book, book.of(name, Phase.CANCELLING), TELL_AGAIN_S)
    return tuple(found)


def _drain(book: Book, nodes: dict[str, NodeView], used: set[str]) -> tuple[str, ...]:
    """Idle nodes beyond the least number, once nothing is on its way that could go instead.

    Machines on their way do not stand in for nodes.
    """
    found = []
    for name, kind in book.types.items():
        spare = sum(1 for _ in book.of(name, Phase.UP)) - kind.min_nodes
        coming = book.of(name, Phase.ASKED, Phase.PENDING)
        if any(row.unwanted is not None for row in coming):
            spare = 0
        for row in _idle(book, kind, nodes, used)[: max(0, spare)]:
            book.move(row, Phase.DRAINING, told=book.now)
            found.append(row.name)
        deaf = (row for row in book.of(name, Phase.DRAINING) if not _drains(nodes, row))
        found += _due(book, deaf, NODE_AGAIN_S)
    return tuple(found)


def _idle(book: Book, kind: NodeType, nodes: dict[str, NodeView], used: set[str]) -> list[Row]:
    """Nodes of a type that may go, those that are missed least first."""
    idle = [
        (bool(node.keeps), -node.idle_seconds, row.name, row)
        for row in book.of(kind.name, Phase.UP)
        if (node := nodes.get(row.name)) is not None and _may_go(kind, node, used)
    ]
    return [row for *_, row in sorted(idle)]


def _may_go(kind: NodeType, node: NodeView, used: set[str]) -> bool:
    is_idle = not node.busy and node.idle_seconds >= kind.idle_seconds
    return is_idle and not node.draining and node.machine not in used


def _release(book: Book, nodes: dict[str, NodeView]) -> tuple[str, ...]:
    found: list[str] = []
    for name in book.types:
        for row in list(book.of(name, Phase.DRAINING)):
            node = nodes.get(row.name)
            if node is not None and node.draining and not node.busy and not node.keeps:
                book.move(row, Phase.RELEASING, told=0.0)
        found += _due(book, book.of(name, Phase.RELEASING), TELL_AGAIN_S)
    return tuple(found)


def _due(book: Book, rows: Iterable[Row], every: float) -> list[str]:
    """Those of which somebody must be told, for the first time or again."""
    due = [row for row in rows if book.now - row.told >= every]
    for row in due:
        book.note(row, told=book.now)
    return [row.name for row in due]
