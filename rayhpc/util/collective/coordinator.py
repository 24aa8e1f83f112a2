"""The actor at which a group's members meet; it sees references and small values, never arrays.

Created by `membership`, one per group, under the group's name.  It learns of a member's death from
a reference that the member owns and that never becomes ready while the member stays, and ends
itself once all members are gone.
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
        declared: for a group declared by a driver, the rank of each actor by its id in hex.
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

    # -- membership -------------------------------------------------------------------------------
    async def stay(self, member: str) -> None:
        """Returns once the member has left; the state of its result reveals the member's death."""
        await self._left[member].wait()

    async def join(
        self, rank: int, member: str, world_size: int, staying: list[Any], timeout: float
    ) -> tuple[bool, str]:
        """A member joins.

        Args:
            rank: its rank.
            member: its name, as in `stay`.
            world_size: the size it expects the group to have.
            staying: the result of its call of `stay`, in a list.
            timeout: how long it waits for an earlier group with this name to end, in seconds.

        Returns:
            Whether it has joined; if not, the error, or "" if this group has ended: create a new
            one.
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
        """The declaring driver is present; the group ends with it if nobody joins."""
        self._has_declarer = True
        self._watch(None, DECLARER, staying[0])

    async def rank_of(self, actor: str) -> tuple[int, int, float] | None:
        """A declared member's rank, the group's size and the timeout; None: not a member."""
        rank = self._declared.get(actor)
        return None if rank is None else (rank, self._meetings.world_size, self._timeout)

    async def leave(self, member: str) -> None:
        """A member leaves gracefully."""
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
            key: identifies the meeting.
            rank: the rank that arrives.
            ranks: the participating ranks.
            what: the operation, which must be the same for all.
            brings: the contribution, in a list: otherwise a reference would be fetched here.
            timeout: how long to wait, in seconds.
            is_scattered: each contribution is a list with one item per rank, which gets only that.
            forgives: the meeting completes without members that have died.

        Returns:
            An error, or "" and the contribution of each rank.
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
            # Not gracefully, which would wait for the calls of dead members.
            rayhpc.kill(rayhpc.get_runtime_context().current_actor)
