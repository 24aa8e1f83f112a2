"""What `rayhpc status` says of a cluster that grows: asked for, pending, idle, and why no more.

Used by `status`.  The cluster's own loop has left the sentences with the head.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from rayhpc.wire.messages.cluster import KvGet
from rayhpc.wire.messages.elastic import (
    ELASTIC_SPACE,
    HISTORY_KEY,
    STATUS_KEY,
    ElasticStatus,
    Moment,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rayhpc.launch.observer import Observer


def asked(observer: Observer) -> ElasticStatus | None:
    """What the loop said last; None: this cluster keeps its size."""
    found = observer.ask(KvGet(ELASTIC_SPACE, STATUS_KEY), object)
    return msgspec.json.decode(found, type=ElasticStatus) if isinstance(found, bytes) else None


def history(observer: Observer) -> list[Moment]:
    """What there was over time; empty: this cluster keeps its size."""
    found = observer.ask(KvGet(ELASTIC_SPACE, HISTORY_KEY), object)
    return msgspec.json.decode(found, type=list[Moment]) if isinstance(found, bytes) else []


def to_json(status: ElasticStatus | None) -> dict[str, Any] | None:
    """As plain values."""
    if status is None:
        return None
    types = {
        name: {"up": up, "machines": machines, "min": least, "max": most}
        for name, (up, machines, least, most) in status.types.items()
    }
    lines = [{"text": text, "detail": detail} for text, detail in status.lines]
    return {"types": types, "lines": lines, "at": status.at}


def sentences(page: str) -> list[str]:
    """The sentences in what `rayhpc status --json` prints; none if the cluster keeps its size."""
    growth = json.loads(page)["elastic"] or {"lines": []}
    lines = []
    for each in growth["lines"]:
        detail = f" ({each['detail']})" if each["detail"] else ""
        lines.append(f"{each['text']}{detail}")
    return lines


def render(status: ElasticStatus | None, console: Console) -> None:
    """Print it."""
    if status is None:
        return
    for name, (up, machines, least, most) in status.types.items():
        coming = f", {machines - up} on their way" if machines > up else ""
        console.print(f"{name}: {up} up{coming}; {least} to {most}")
    for text, detail in status.lines:
        shown = f"  {text}" + (f" ({detail})" if detail else "")
        console.print(shown, markup=False, soft_wrap=True)
