"""What differs between two views, and how one becomes the other.

Used by the dashboard, which sends its page the first view whole and then only changes.  A part is
an attribute of a view; of a part that is a list of named rows (`keys` says by which attribute) only
the rows that have changed are sent, and their order if it has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

V = TypeVar("V", bound=msgspec.Struct)


class RowChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """The new and different rows of one part; the names of all in order, if that has changed."""

    rows: list[Any] = []
    order: list[Any] | None = None


class Changes(msgspec.Struct, frozen=True, omit_defaults=True):
    """Parts that are sent whole, and parts of which only rows are sent."""

    parts: dict[str, Any] = {}
    rows: dict[str, RowChanges] = {}


def changes(before: V | None, after: V, keys: Mapping[str, str]) -> Changes:
    """What turns the first view into the second; without a first, all of the second."""
    parts: dict[str, Any] = {}
    rows: dict[str, RowChanges] = {}
    for name in after.__struct_fields__:
        new = getattr(after, name)
        if before is None:
            parts[name] = new
            continue
        old = getattr(before, name)
        if old == new:
            continue
        if name in keys:
            rows[name] = _of_rows(old, new, keys[name])
        else:
            parts[name] = new
    return Changes(parts, rows)


def applied(before: V, told: Changes, keys: Mapping[str, str]) -> V:
    """The view with the changes applied."""
    found: dict[str, Any] = dict(told.parts)
    for name, part in told.rows.items():
        key = keys[name]
        known = {getattr(row, key): row for row in getattr(before, name)}
        order = list(known) if part.order is None else part.order
        known.update({getattr(row, key): row for row in part.rows})
        found[name] = [known[x] for x in order]
    return msgspec.structs.replace(before, **found)


def _of_rows(old: list[Any], new: list[Any], key: str) -> RowChanges:
    known = {getattr(row, key): row for row in old}
    different = [row for row in new if known.get(getattr(row, key)) != row]
    order = [getattr(row, key) for row in new]
    return RowChanges(different, None if order == list(known) else order)
