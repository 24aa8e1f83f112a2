"""A value that knows who said so, and what else was said.

Every line of `rayhpc doctor` is one of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate(Generic[T]):
    """What one source says."""

    value: T
    source: str


@dataclass(frozen=True)
class Fact(Generic[T]):
    """The value that holds, the source that decided it, and all candidates considered."""

    value: T
    source: str
    candidates: tuple[Candidate[Any], ...] = ()

    @property
    def others(self) -> tuple[Candidate[Any], ...]:
        """The candidates that did not decide."""
        return tuple(each for each in self.candidates if each.source != self.source)


def least(candidates: Iterable[Candidate[int]]) -> Fact[int]:
    """The smallest value decides; of equal ones the first.  Raises ValueError if there is none."""
    considered = tuple(candidates)
    best = min(considered, key=lambda each: each.value)
    return Fact(best.value, best.source, considered)


def first(candidates: Iterable[Candidate[T]]) -> Fact[T]:
    """The first candidate decides.  Raises ValueError if there is none."""
    considered = tuple(candidates)
    if not considered:
        raise ValueError("no source says anything about this fact")
    return Fact(considered[0].value, considered[0].source, considered)
