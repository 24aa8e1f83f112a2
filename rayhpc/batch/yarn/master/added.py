"""Ranks added to a job by their numbers: which are wanted, and how the others have ended.

Used by `gang`.  A rank is added once: its number is not used again, whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rayhpc.batch.yarn.talk import AddedRank, RankState

# So many of those that have ended are still described.
_REMEMBERED = 256
# `talk.MOST_ROWS` of them must fit into a packet.
_MOST_CHARACTERS = 250


class AddedRanks:
    """The added ranks.

    Attributes:
        wanted: those that are to run.
    """

    def __init__(self) -> None:
        self.wanted: set[int] = set()
        self._known: set[int] = set()
        self._ended: dict[int, str] = {}

    def want(self, rank: int) -> None:
        """Add it, unless it was before."""
        if rank not in self._known:
            self._known.add(rank)
            self.wanted.add(rank)

    def is_wanted(self, rank: int) -> bool:
        """Whether it is to run."""
        return rank in self.wanted

    def is_known(self, rank: int) -> bool:
        """Whether that number has been used."""
        return rank in self._known

    def end(self, rank: int, how: str) -> None:
        """It is over, or about to be."""
        if rank in self.wanted:
            self.wanted.remove(rank)
            self._ended[rank] = how[:_MOST_CHARACTERS]
            if len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]

    def states(self, hosts: Mapping[int, str]) -> list[AddedRank]:
        """How they stand, by rank; `hosts` has those whose container is in use."""
        shown = {*self.wanted, *self._ended, *self._known.intersection(hosts)}
        return [self._state(rank, hosts.get(rank)) for rank in sorted(shown)]

    def _state(self, rank: int, host: str | None) -> AddedRank:
        if host is not None:
            return AddedRank(rank, RankState.RUNNING, host)
        if rank in self.wanted:
            return AddedRank(rank, RankState.PENDING)
        return AddedRank(rank, RankState.ENDED, reason=self._ended[rank])
