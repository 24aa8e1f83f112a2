"""A value together with its source and the values that other sources gave.

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
    """The value in effect, the source that decided it, and all candidates considered."""

    value: T
    source: str
    candidates: tuple[Candidate[Any], ...] = ()

    @property
    def others(self) -> tuple[Candidate[Any], ...]:
        """The candidates that were not chosen."""
        return tuple(each for each in self.candidates if each.source != self.source)


def least(candidates: Iterable[Candidate[int]]) -> Fact[int]:
    """The smallest value wins; among equal ones the first.  Raises ValueError if there is none."""
    considered = tuple(candidates)
    best = min(considered, key=lambda each: each.value)
    return Fact(best.value, best.source, considered)


def first(candidates: Iterable[Candidate[T]]) -> Fact[T]:
    """The first candidate wins.  Raises ValueError if there is none."""
    considered = tuple(candidates)
    if not considered:
        raise ValueError("no source says anything about this fact")
    return Fact(considered[0].value, considered[0].source, considered)
