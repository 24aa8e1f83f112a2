"""What the members of a group have contributed to each operation, and the state of each operation.

Used by `coordinator`.  Decisions only: nothing here waits or sends.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Meeting:
    """One operation, or one step of it.

    Attributes:
        ranks: the participants.
        brought: the contribution of each.
        taken: the ranks that have received the outcome.
        error: why it cannot complete; empty: it can.
        forgives: members that have died are not waited for.
    """

    ranks: tuple[int, ...]
    what: Any
    forgives: bool
    brought: dict[int, Any] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    error: str = ""

    def missing(self) -> list[int]:
        """The ranks that have not arrived."""
        return [x for x in self.ranks if x not in self.brought]


class Meetings:
    """All unfinished operations of a group.

    Args:
        name: the group's name, for messages.
        world_size: the number of members.
    """

    def __init__(self, name: str, world_size: int) -> None:
        self.name = name
        self.world_size = world_size
        self.members: dict[int, str] = {}
        self.gone: dict[int, str] = {}
        self._open: dict[Hashable, Meeting] = {}

    def join(self, rank: int, member: str, world_size: int) -> str:
        """A member joins; returns the error, or nothing."""
        if world_size != self.world_size:
            return f"rank {rank} was given world_size={world_size}, others {self.world_size}"
        if not 0 <= rank < world_size:
            return f"rank {rank} is not below the group's size, {world_size}"
        if rank in self.members:
            return f"rank {rank} is taken by another process"
        self.members[rank] = member
        return ""

    def is_closing(self) -> bool:
        """Whether a member has left: nobody can join any more."""
        return bool(self.gone)

    def leave(self, rank: int, reason: str) -> list[Hashable]:
        """A member is gone; returns the keys of the meetings that this decides."""
        self.gone[rank] = reason
        return [key for key in self._open if self._look(key)]

    def is_empty(self) -> bool:
        """Whether every member that ever joined is gone."""
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
        """A member arrives at a meeting; returns whether that decides it.

        Args:
            key: identifies the meeting.
            rank: the rank that arrives.
            ranks: the participants.
            what: the operation, which must be the same for all.
            brings: the contribution for the others.
            forgives: the meeting completes without members that have died.
        """
        meeting = self._open.get(key)
        if meeting is None:
            meeting = self._open[key] = Meeting(tuple(ranks), what, forgives)
        if meeting.what != what and not meeting.error:
            meeting.error = (
                f"rank {rank} calls {what}, but rank {min(meeting.brought)} {meeting.what}: the "
                "members must call the same operations, of arrays of one size and type, in one "
                "order"
            )
        meeting.brought[rank] = brings
        return self._look(key)

    def give_up(self, key: Hashable, limit: float) -> None:
        """A participant's timeout (in seconds) has expired."""
        meeting = self._open.get(key)
        if meeting is None or meeting.error or not meeting.missing():
            return
        late = meeting.missing()
        strangers = [x for x in late if x not in self.members]
        never = f" (ranks {strangers} have never joined the group)" if strangers else ""
        meeting.error = f"ranks {late} have not arrived within {limit:g} s{never}"

    def outcome(self, key: Hashable, rank: int) -> tuple[str, dict[int, Any]]:
        """The error, or all contributions, for a participant; the last one removes the meeting."""
        meeting = self._open.get(key)
        if meeting is None:  # the others did not wait for one that died
            return f"the group continued without rank {rank}, which it considers dead", {}
        found = (meeting.error, {} if meeting.error else dict(meeting.brought))
        meeting.taken.add(rank)
        if all(x in meeting.taken or x in self.gone for x in meeting.ranks):
            del self._open[key]
        return found

    def has(self, key: Hashable) -> bool:
        """Whether a meeting is unfinished: someone has yet to get its outcome."""
        return key in self._open

    def _look(self, key: Hashable) -> bool:
        meeting = self._open[key]
        missing = meeting.missing()
        gone = [x for x in missing if x in self.gone]
        if gone and not meeting.forgives and not meeting.error:
            meeting.error = f"rank {gone[0]} {self.gone[gone[0]]}"
        return bool(meeting.error) or len(missing) == (len(gone) if meeting.forgives else 0)
