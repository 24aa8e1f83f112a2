"""A plan in sentences: what is asked for, coming and idle, and why nothing more is asked for.

Used by `plan`, last.  Decides nothing.  What changes by itself, such as for how long something has
been pending, is in a line's `detail`, so that a log says each thing once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rayhpc.elastic.book import GOING, Book, Phase, Row
from rayhpc.elastic.packing import (
    Bin,
    Packing,
    can_hold,
    gang_in_words,
    need_in_words,
    words_for,
)
from rayhpc.elastic.types import Ask, Demand, Line, NodeView
from rayhpc.wire.feasibility import closeness, in_words, labels_match

_WORDS = {
    Phase.ASKED: "asked for, not answered yet",
    Phase.PENDING: "pending",
    Phase.STARTING: "starting",
    Phase.DRAINING: "draining, takes no new work",
    Phase.CANCELLING: "being cancelled",
    Phase.RELEASING: "being given back",
}


def explain(
    book: Book,
    packing: Packing,
    asks: Sequence[Ask],
    drains: Sequence[str],
    nodes: Mapping[str, NodeView],
) -> tuple[Line, ...]:
    """The sentences."""
    lines = [*_asked(asks), *_drained(book, drains), *_unserved(book, packing)]
    for name in book.types:
        lines += _trouble(book, name)
        lines += _coming_and_going(book, name)
        lines += _idle(book, name, nodes)
    return tuple(lines)


def _asked(asks: Sequence[Ask]) -> Iterator[Line]:
    for ask in asks:
        yield Line(f"asked for {', '.join(ask.names)}: {ask.why}", ask.node_type)


def _drained(book: Book, drains: Sequence[str]) -> Iterator[Line]:
    for name, kind in book.types.items():
        for is_over, why in (
            (False, f"idle for {kind.idle_seconds:g} s"),
            (True, "the end of its time is near"),
        ):
            rows = [book.rows[x] for x in drains if book.rows[x].node_type == name]
            mine = [each.name for each in rows if each.retiring == is_over]
            if mine:
                yield Line(f"giving back {', '.join(mine)}: {why}", name)


def _unserved(book: Book, packing: Packing) -> Iterator[Line]:
    for demand, count in packing.left:
        one = replace(demand, count=1)
        able = [name for name in book.types if _fits_type(book, name, demand)]
        if able:
            why = "; ".join(filter(None, (_why_no_more(book, name) for name in able)))
            if why:
                yield Line(f"nothing more is asked for: {why}", detail=words_for(demand, count))
        elif not any(place.total and _could(place, demand) for place in packing.bins):
            yield Line(
                f"{_plural(one)} fit no node type, so nothing is asked for them: "
                f"{_closest(book, demand)}"
            )
    for gang in packing.left_gangs:
        limits = [
            _why_no_more(book, name) or f"there may be {kind.max_nodes} nodes of {name}"
            for name, kind in book.types.items()
        ]
        yield Line(f"{gang_in_words(gang)} is more than may be asked for: {'; '.join(limits)}")


def _fits_type(book: Book, name: str, demand: Demand) -> bool:
    kind = book.types[name]
    if demand.seconds is not None and demand.seconds > book.lasts(name):
        return False
    return can_hold(kind, book.resources(name), demand.resources, demand.conditions)


def _could(place: Bin, demand: Demand) -> bool:
    if demand.seconds is not None and demand.seconds > place.lasts:
        return False
    total = place.total
    return all(total.get(name, 0) >= amount for name, amount in demand.resources.items())


def _plural(demand: Demand) -> str:
    return f"{demand.waits_for} that need {need_in_words(demand)} each"


def _closest(book: Book, demand: Demand) -> str:
    known = [(name, book.resources(name)) for name in book.types]
    if demand.conditions and not any(
        labels_match(_LabelsOf(book.types[name].labels), demand.conditions) for name, _ in known
    ):
        return "none has such labels"
    if not known:
        return "there is none"
    able = [name for name in book.types if _fits_type(book, name, replace(demand, seconds=None))]
    if able:
        longest = max(book.lasts(name) for name in able)
        return f"none takes what runs for longer than {longest:.0f} s"
    name, largest = max(known, key=lambda each: closeness(each[1], demand.resources))
    lacking = [x for x, amount in demand.resources.items() if largest.get(x, 0) < amount]
    has = [in_words({x: largest[x]}) if largest.get(x) else f"no {x}" for x in lacking]
    return f"the closest, {name}, has {', '.join(has)}"


class _LabelsOf:
    """A node type's labels, as `labels_match` takes them."""

    node_id = ""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels


def _why_no_more(book: Book, name: str) -> str:
    kind, memory = book.types[name], book.memory[name]
    if not book.adopted:
        return f"{name}: its place has not been looked at yet"
    if memory.paused:
        return f"{name} is paused"
    if book.now < memory.not_before:
        return f"{name} has failed {memory.failures} times in a row"
    if book.count(name) >= kind.max_nodes:
        return f"{name} has all of its {kind.max_nodes} nodes, or they are on their way"
    if not book.room_for_all():
        return f"the cluster has all of its {book.most} nodes, or they are on their way"
    if not book.resources(name):
        return f"the first {name} will show what it has"
    return ""


def _trouble(book: Book, name: str) -> Iterator[Line]:
    memory = book.memory[name]
    if memory.paused:
        yield Line(f"{name} is paused: {memory.paused}", name)
    elif memory.failures:
        left = memory.not_before - book.now
        when = f"the next ask in {left / 60:.0f} min" if left > 0 else "asked again when needed"
        yield Line(f"{name}: {memory.reason}", name, f"failure {memory.failures}, {when}")


def _coming_and_going(book: Book, name: str) -> Iterator[Line]:
    groups: dict[tuple[Phase, str], list[Row]] = {}
    for row in book.of(name):
        if row.phase is not Phase.UP:
            reason = "" if row.phase in GOING else row.reason
            groups.setdefault((row.phase, reason), []).append(row)
    for (phase, reason), rows in groups.items():
        oldest = min(row.since for row in rows)
        said = f"{_names(rows)} {_WORDS[phase]}" + (f": {reason}" if reason else "")
        is_news = phase is Phase.PENDING and bool(reason)
        yield Line(said, name, f"for {book.now - oldest:.0f} s", is_news)


def _idle(book: Book, name: str, nodes: Mapping[str, NodeView]) -> Iterator[Line]:
    kind = book.types[name]
    spare = book.staying(name) > kind.min_nodes
    for row in book.of(name, Phase.UP):
        node = nodes.get(row.name)
        if node is None or node.busy:
            continue
        what = f"given back after {kind.idle_seconds:g} s" if spare else "kept as one of the least"
        detail = f"since {node.idle_seconds:.0f} s; {what}"
        yield Line(f"{row.name} is idle", name, detail, is_news=False)


def _names(rows: Sequence[Row]) -> str:
    shown = ", ".join(row.name for row in rows[:3])
    return shown if len(rows) <= 3 else f"{shown} and {len(rows) - 3} more"
