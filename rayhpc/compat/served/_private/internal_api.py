"""`ray._private.internal_api`: frees objects' values explicitly, and lists the stores as text.

Used by programs and their tests, also as `ray.internal`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from rayhpc.api.objects.objects import free
from rayhpc.api.state.schema import ObjectState
from rayhpc.util.state import list_objects

_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}
_GROUPS = {"NODE_ADDRESS": "ip", "STACK_TRACE": "call_site"}
_SORTS = {"PID": "pid", "OBJECT_SIZE": "object_size", "REFERENCE_TYPE": "reference_type"}
_COLUMNS = ("ip", "pid", "type", "call_site", "task_status", "object_size", "reference_type")
_EVERY_ROW = 1_000_000


def memory_summary(
    address: str | None = None,
    redis_password: Any = None,
    group_by: str = "NODE_ADDRESS",
    sort_by: str = "OBJECT_SIZE",
    units: str = "B",
    line_wrap: bool = True,
    stats_only: bool = False,
    num_entries: int | None = None,
) -> str:
    """The objects of the cluster, as a table.

    Args:
        address: the cluster; None: the one this process has joined.
        redis_password: accepted, without effect.
        group_by: "NODE_ADDRESS" or "STACK_TRACE".
        sort_by: "PID", "OBJECT_SIZE" (largest first) or "REFERENCE_TYPE".
        units: of sizes: "B", "KB", "MB" or "GB".
        line_wrap: accepted, without effect: lines are as long as needed.
        stats_only: only the totals.
        num_entries: how many objects per group; None: all.

    Raises:
        ValueError: there is no such group, order or unit.
    """
    for given, known in ((group_by, _GROUPS), (sort_by, _SORTS), (units, _UNITS)):
        if given not in known:
            raise ValueError(f"memory_summary: {given!r} is none of {', '.join(known)}.")
    rows = list_objects(address, limit=_EVERY_ROW)
    total = sum(x.object_size for x in rows)
    lines = [f"{len(rows)} objects, {_size(total, units)} {units} in all"]
    if not stats_only:
        lines += _tables(rows, group_by, sort_by, units, num_entries)
    return "\n".join(lines) + "\n"


def _tables(
    rows: list[ObjectState], group_by: str, sort_by: str, units: str, limit: int | None
) -> list[str]:
    column = _GROUPS[group_by]
    lines = []
    for title, group in groupby(sorted(rows, key=lambda x: str(x[column])), lambda x: x[column]):
        found = sorted(group, key=lambda x: x[_SORTS[sort_by]], reverse=sort_by == "OBJECT_SIZE")
        lines += ["", f"--- {group_by.lower().replace('_', ' ')}: {title or 'unknown'} ---"]
        lines += [" | ".join((*_COLUMNS, "object_ref"))]
        for row in found[:limit]:
            shown = {**{x: row[x] for x in _COLUMNS}, "object_size": _size(row.object_size, units)}
            lines.append(" | ".join((*(str(shown[x] or "-") for x in _COLUMNS), row.object_id)))
    return lines


def _size(nbytes: int, units: str) -> str:
    return str(nbytes) if units == "B" else f"{nbytes / _UNITS[units]:.2f}"


__all__ = ["free", "memory_summary"]
