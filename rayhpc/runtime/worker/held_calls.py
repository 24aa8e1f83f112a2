"""Calls of an actor that do not start because their caller does not read its replies.

Used by `actor_calls`, in the leading thread.  A caller that is stopped, or slow, must not fill this
process's memory with replies, nor keep the actor from serving others.  Calls keep their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from rayhpc.wire.address import Address, ObjectId


class _Item(Protocol):
    caller: Address
    call: Any


T = TypeVar("T", bound=_Item)


class HeldCalls(Generic[T]):
    """The calls that are held back, by caller.

    Args:
        is_behind: whether a caller has too many unread replies to add another.

    Attributes:
        by_caller: the calls held back, in order; read by any thread, also before each call.
    """

    def __init__(self, is_behind: Callable[[Address], bool]) -> None:
        self._is_behind = is_behind
        self.by_caller: dict[Address, deque[T]] = {}

    def add(self, item: T) -> bool:
        """Hold a call back; False: its caller reads its replies and has no call held."""
        calls = self.by_caller.get(item.caller)
        if calls is None:
            if not self._is_behind(item.caller):
                return False
            calls = self.by_caller[item.caller] = deque()
        calls.append(item)
        return True

    def released(self) -> list[T]:
        """Remove and return the calls of callers that have caught up."""
        found: list[T] = []
        for caller in [x for x in self.by_caller if not self._is_behind(x)]:
            found.extend(self.by_caller.pop(caller))
        return found

    def forget(self, tid: ObjectId) -> bool:
        """Forget a cancelled call; False: it is not here."""
        for caller, calls in self.by_caller.items():
            for item in calls:
                if item.call.tid == tid:
                    calls.remove(item)
                    if not calls:
                        del self.by_caller[caller]
                    return True
        return False

    def clear(self) -> None:
        """Forget all: no call starts any more."""
        self.by_caller.clear()
