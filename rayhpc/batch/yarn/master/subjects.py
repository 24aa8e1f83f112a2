"""What actions and events are about.

Used by `actions` and `events`, whose classes differ in what they mean, not in what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OfContainer:
    """Of one container, by its id as text."""

    container: str


@dataclass(frozen=True)
class OfHost:
    """Of one host, by its name."""

    host: str


@dataclass(frozen=True)
class OfRank:
    """Of one rank, by its number."""

    rank: int
