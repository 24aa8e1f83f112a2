"""What the members of a group have brought to each operation, and how each operation stands.

Used by `coordinator`.  Decisions alone: nothing here waits or sends.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Meeting:
    """One operation, or one step of it.

    Attributes:
        ranks: who takes part.
        brought: what each of them has brought.
        taken: who has got the outcome.
        error: why it cannot end; empty: it can.
        forgives: those who have ended need not come.
    """

    ranks: tuple[int, ...]
    what: Any
    forgives: bool
    brought: dict[int, Any] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    error: str = ""

    def missing(self) -> list[int]:
        """Who has not come."""
        return [x for x in self.ranks if x not in self.brought]


class Meetings:
    """All operations of a group that are not over.

    Args:
        name: the group's name, for messages.
        world_size: how many members it has.
    """

    def __init__(self, name: str, world_size: int) -> None:
        self.name = name
        self.world_size = world_size
        self.members: dict[int, str] = {}
        self.gone: dict[int, str] = {}
        self._open: dict[Hashable, Meeting] = {}

    def join(self, rank: int, member: str, world_size: int) -> str:
        """A member has come: the error, or nothing."""
        if world_size != self.world_size:
            return f"rank {rank} was given world_size={world_size}, others {self.world_size}"
        if not 0 <= rank < world_size:
            return f"rank {rank} is not below the group's size, {world_size}"
        if rank in self.members:
            return f"rank {rank} is taken by another process"
        self.members[rank] = member
        return ""

    def is_closing(self) -> bool:
        """Whether a member has gone: nobody can join any more."""
        return bool(self.gone)

    def leave(self, rank: int, reason: str) -> list[Hashable]:
        """A member is gone; the keys of the meetings that this decides."""
        self.gone[rank] = reason
        return [key for key in self._open if self._look(key)]

    def is_empty(self) -> bool:
        """Whether every member that has ever come is gone."""
        return len(self.gone) == len(self.members)

    def arrive(
        self,
        key: Hashable,
        rank: int,
        ranks: Sequence[int],
        what: Any,
        brings: Any,
        forgives: bool = False,
    ) -> bool:
        """A member comes to a meeting; whether that is decided now.

        Args:
            key: which meeting.
            rank: who comes.
            ranks: who takes part.
            what: the operation, which must be the same for all.
            brings: what the others are to get.
            forgives: the meeting ends without members that have ended.
        """
        meeting = self._open.get(key)
        if meeting is None:
            meeting = self._open[key] = Meeting(tuple(ranks), what, forgives)
        if meeting.what != what and not meeting.error:
            meeting.error = (
                f"rank {rank} calls {what}, and rank {min(meeting.brought)} {meeting.what}: the "
                "members must call the same operations, of arrays of one size and type, in one "
                "order"
            )
        meeting.brought[rank] = brings
        return self._look(key)

    def give_up(self, key: Hashable, limit: float) -> None:
        """The time (seconds) that one of those who came would wait is over."""
        meeting = self._open.get(key)
        if meeting is None or meeting.error or not meeting.missing():
            return
        late = meeting.missing()
        strangers = [x for x in late if x not in self.members]
        never = f" (ranks {strangers} have never joined the group)" if strangers else ""
        meeting.error = f"ranks {late} have not come within {limit:g} s{never}"

    def outcome(self, key: Hashable, rank: int) -> tuple[str, dict[int, Any]]:
        """The error, or what all have brought, for one of those who came; the last one clears up.
        """
        meeting = self._open.get(key)
        if meeting is None:  # the others did not wait for one who has ended meanwhile
            return f"the group went on without rank {rank}, which it holds for dead", {}
        found = (meeting.error, {} if meeting.error else dict(meeting.brought))
        meeting.taken.add(rank)
        if all(x in meeting.taken or x in self.gone for x in meeting.ranks):
            del self._open[key]
        return found

    def has(self, key: Hashable) -> bool:
        """Whether a meeting is not over: somebody has still to get its outcome."""
        return key in self._open

    def _look(self, key: Hashable) -> bool:
        meeting = self._open[key]
        missing = meeting.missing()
        gone = [x for x in missing if x in self.gone]
        if gone and not meeting.forgives and not meeting.error:
            meeting.error = f"rank {gone[0]} {self.gone[gone[0]]}"
        return bool(meeting.error) or len(missing) == (len(gone) if meeting.forgives else 0)
