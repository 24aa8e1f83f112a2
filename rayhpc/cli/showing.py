"""How the CLI formats amounts, bytes, ages and demands, and which session a command is about.

Used by `status` and `listing`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rayhpc.launch import leftovers, sessions

if TYPE_CHECKING:
    from rayhpc.launch.sessions import SessionRecord

_UNIT = 10_000
_BYTES = ("memory", "object_store_memory")


def chosen_session(address: str | None) -> SessionRecord:
    """The session a command is about: the named one, or the user's only cluster here.

    Raises:
        SessionNotFoundError: there is none, or more than one.
    """
    leftovers.sweep(os.environ)
    return sessions.find(address or "auto")


def size_in_words(number: float) -> str:
    """Bytes with a unit."""
    unit, size = _unit(number)
    return f"{_short(number / size)} {unit}"


def share_of_size(used: float, total: float) -> str:
    """`1.5/16 GiB`."""
    unit, size = _unit(total)
    return f"{_short(used / size)}/{_short(total / size)} {unit}"


def share(name: str, used: int, total: int) -> str:
    """How much of a resource is in use (amounts in units of 1/10000)."""
    if name in _BYTES:
        return share_of_size(used / _UNIT, total / _UNIT)
    return f"{used / _UNIT:g}/{total / _UNIT:g}"


def amount(name: str, value: int) -> str:
    """A resource amount (in units of 1/10000) in readable form."""
    number = value / _UNIT
    return size_in_words(number) if name in _BYTES else f"{number:g}"


def demand_in_words(resources: dict[str, int]) -> str:
    """`2 CPU, 1 GPU`; resources that only name a node are left out."""
    shown = {name: value for name, value in resources.items() if not name.startswith("node:")}
    return ", ".join(f"{amount(name, value)} {name}" for name, value in shown.items())


def _unit(number: float) -> tuple[str, int]:
    units = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
    return next(((unit, size) for unit, size in units if number >= size), ("B", 1))


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def plain_resources(resources: dict[str, int]) -> dict[str, float]:
    """Amounts as numbers: CPUs, bytes."""
    return {name: value / _UNIT for name, value in resources.items()}


def age(seconds: float) -> str:
    """A duration in its two largest units."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
