"""Where to ask for a machine when there is no room everywhere: shared by the providers of clouds.

Pure but for the clock that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from rayhpc.providers.base import CapacityError

# A place that had no room is asked last for so long.
_COOL_S = 600.0


class Somewhere(Protocol):
    """Where to ask: a kind of machine, and a zone in words."""

    @property
    def kind(self) -> str:
        """Of machine, by its place's name."""

    @property
    def where(self) -> str:
        """The zone."""


Place = TypeVar("Place", bound=Somewhere)


class NoRoomError(CapacityError):
    """There is none of that kind in that zone now: another zone or kind may have one.

    Attributes:
        word: its place's code for that.
    """

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class QuotaError(CapacityError):
    """So many there may be of that kind, whatever the zone: another kind may count elsewhere."""


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


def make_somewhere(
    title: str, places: Iterable[Place], cold: Cold[Place], make: Callable[[Place], None]
) -> None:
    """Have a machine made at the first place that has room, the cold ones last.

    Args:
        title: whose places they are.
        places: where to ask, in turn.
        cold: those that had no room lately.
        make: asks at one; raises NoRoomError and QuotaError where another one is to be asked.

    Raises:
        ProviderError: another refusal, which is final.
        CapacityError: nowhere is room.
    """
    tried: list[str] = []
    spent: dict[str, QuotaError] = {}
    for at in cold.last(places):
        if at.kind in spent:
            continue
        try:
            make(at)
            return
        except QuotaError as error:
            spent[at.kind] = error
            tried.append(f"{at.kind} (its quota is used up)")
        except NoRoomError as error:
            cold.note(at)
            tried.append(f"{at.kind} in {at.where} ({error.word})")
    if len(spent) == len(tried):
        raise CapacityError(str(next(iter(spent.values()))))
    raise CapacityError(f"{title} has none now: {', '.join(tried)}")
