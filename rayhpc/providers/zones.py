"""Where to ask for a machine when there is no room everywhere: shared by the providers of clouds.

Pure but for the clock that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from rayhpc.providers.base import CapacityError

# A place that had no room is asked last for so long.
_COOL_S = 600.0
Place = TypeVar("Place")


class Cold(Generic[Place]):
    """The places that had no room lately.

    Args:
        now: seconds, of any clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[Place, float] = {}

    def last(self, places: Iterable[Place]) -> list[Place]:
        """The places in their order, but for the cold ones, which come after the others."""
        return sorted(places, key=self._is_cold)

    def note(self, place: Place) -> None:
        """One had no room just now."""
        self._until[place] = self._now() + _COOL_S

    def _is_cold(self, place: Place) -> bool:
        return self._now() < self._until.get(place, 0.0)


def zones_of(options: Mapping[str, object]) -> list[str]:
    """The zones of `provider` in a cluster's file; Ray has them separated by commas."""
    told = options.get("availability_zone") or ""
    zones = told if isinstance(told, (list, tuple)) else str(told).split(",")
    return [str(each).strip() for each in zones if str(each).strip()]


def no_capacity(title: str, tried: Iterable[tuple[str, str, str]]) -> CapacityError:
    """Nowhere is room.

    Args:
        title: whose places they are.
        tried: the kind of machine, the zone, and the place's code of each try.
    """
    listed = ", ".join(f"{kind} in {zone} ({code})" for kind, zone, code in tried)
    return CapacityError(f"{title} has none now: {listed}")
