"""The actor at which the members of a group meet; it sees references and small values, no arrays.

Made by `membership`, one for each group, under the group's name.  It learns of a member's end from
a reference that the member owns and that is never there while the member stays, and ends itself
when all members are gone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import rayhpc
from rayhpc.util.collective.meetings import Meetings

DECLARER = "declarer"


class Coordinator:
    """The actor.

    Args:
        name: the group's name.
        world_size: how many members it has.
        declared: for a group that a driver has declared, the rank of each actor by its id in hex.
        timeout: how long its members wait, in seconds, if it was declared.
    """

    def __init__(
        self,
        name: str,
        world_size: int,
        declared: dict[str, int] | None = None,
        timeout: float = 0.0,
    ) -> None:
        self._meetings = Meetings(name, world_size)
        self._declared = declared or {}
        self._timeout = timeout
        self._decided: defaultdict[Hashable, asyncio.Event] = defaultdict(asyncio.Event)
        self._left: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._empty = asyncio.Event()
        self._watches: set[asyncio.Task[None]] = set()
        self._has_declarer = False

    # -- who is there -----------------------------------------------------------------------------
    async def stay(self, member: str) -> None:
        """Returns when the member has left; what it would return tells of the member's end."""
        await self._left[member].wait()

    async def join(
        self, rank: int, member: str, world_size: int, staying: list[Any], timeout: float
    ) -> tuple[bool, str]:
        """A member comes.

        Args:
            rank: its rank.
            member: its name, as in `stay`.
            world_size: how large it believes the group is.
            staying: what its call of `stay` has returned, in a list.
            timeout: how long it waits for an earlier group of this name to end, in seconds.

        Returns:
            Whether it is in; if not, the error, or "" if this group has ended: make another.
        """
        if self._meetings.is_closing():
            self._left[member].set()
            try:
                await asyncio.wait_for(self._empty.wait(), timeout)
            except asyncio.TimeoutError:
                here = sorted(self._meetings.members.keys() - self._meetings.gone.keys())
                return False, f"ranks {here} have not left the group's earlier life"
            return False, ""
        error = self._meetings.join(rank, member, world_size)
        if error:
            self._left[member].set()
            return False, error
        self._watch(rank, member, staying[0])
        return True, ""

    async def declare(self, staying: list[Any]) -> None:
        """The driver that declared the group is there; the group ends with it if nobody joins."""
        self._has_declarer = True
        self._watch(None, DECLARER, staying[0])

    async def rank_of(self, actor: str) -> tuple[int, int, float] | None:
        """A declared member's rank, the group's size and how long to wait; None: it is no member.
        """
        rank = self._declared.get(actor)
        return None if rank is None else (rank, self._meetings.world_size, self._timeout)

    async def leave(self, member: str) -> None:
        """A member leaves in good order."""
        self._left[member].set()

    # -- operations -------------------------------------------------------------------------------
    async def meet(
        self,
        key: Hashable,
        rank: int,
        ranks: Sequence[int],
        what: Any,
        brings: list[Any],
        timeout: float,
        is_scattered: bool = False,
        forgives: bool = False,
    ) -> tuple[str, dict[int, Any]]:
        """Wait for all of `ranks`.

        Args:
            key: which meeting.
            rank: who comes.
            ranks: who takes part.
            what: the operation, which must be the same for all.
            brings: what the others are to get, in a list: else a reference would be fetched here.
            timeout: how long to wait, in seconds.
            is_scattered: what each brings is a list, an item for each rank, who gets only that.
            forgives: the meeting ends without members that have ended.

        Returns:
            An error, or "" and what each rank has brought.
        """
        decided = self._decided[key]
        if self._meetings.arrive(key, rank, ranks, what, brings[0], forgives):
            decided.set()
        try:
            await asyncio.wait_for(decided.wait(), timeout)
        except asyncio.TimeoutError:
            self._meetings.give_up(key, timeout)
            decided.set()
        error, found = self._meetings.outcome(key, rank)
        if not self._meetings.has(key):
            self._decided.pop(key, None)
        if is_scattered:
            found = {source: parts[rank] for source, parts in found.items()}
        return error, found

    # -- details ----------------------------------------------------------------------------------
    def _watch(self, rank: int | None, member: str, staying: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._until_gone(rank, member, staying))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _until_gone(self, rank: int | None, member: str, staying: Any) -> None:
        try:
            await staying
            reason = "has left the group (destroy_collective_group)"
        except Exception as error:
            reason = f"has ended ({type(error).__name__})"
        self._left[member].set()
        if rank is None:
            self._has_declarer = False
        else:
            for key in self._meetings.leave(rank, reason):
                self._decided[key].set()
        if self._meetings.is_empty() and (self._meetings.members or not self._has_declarer):
            self._empty.set()
            # Not in good order, which would wait for calls of members that are dead.
            rayhpc.kill(rayhpc.get_runtime_context().current_actor)
