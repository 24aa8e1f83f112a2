"""`ActorPool`: distributes work over a fixed set of actors.

Used by programs.  Attributes with an underscore are named as in Ray, because subclasses use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import rayhpc
from rayhpc.exceptions import GetTimeoutError, RayError

V = TypeVar("V")


class ActorPool:
    """Gives values to actors as they become free.

    Args:
        actors: handles; each actor has one call at a time.
    """

    def __init__(self, actors: list[Any]) -> None:
        self._idle_actors = list(actors)
        self._future_to_actor: dict[Any, tuple[int, Any]] = {}
        self._index_to_future: dict[int, Any] = {}
        self._next_task_index = 0
        self._next_return_index = 0
        self._pending_submits: list[tuple[Callable[[Any, Any], Any], Any]] = []

    def map(self, fn: Callable[[Any, V], Any], values: Iterable[V]) -> Iterator[Any]:
        """The results of `fn(actor, value)` for all values, in their order.

        Args:
            fn: calls a method of the actor and returns its reference.
            values: the values to call it with.

        Raises:
            RayError: when the turn of a failed call comes.
        """
        self._forget_earlier()
        for value in values:
            self.submit(fn, value)
        return self._iterate(self.get_next)

    def map_unordered(self, fn: Callable[[Any, V], Any], values: Iterable[V]) -> Iterator[Any]:
        """Like `map`, but results come as they are ready."""
        self._forget_earlier()
        for value in values:
            self.submit(fn, value)
        return self._iterate(self.get_next_unordered)

    def submit(self, fn: Callable[[Any, V], Any], value: V) -> None:
        """Run `fn(actor, value)` on the next free actor."""
        if not self._idle_actors:
            self._pending_submits.append((fn, value))
            return
        actor = self._idle_actors.pop()
        future = fn(actor, value)
        self._future_to_actor[_key(future)] = (self._next_task_index, actor)
        self._index_to_future[self._next_task_index] = future
        self._next_task_index += 1

    def has_next(self) -> bool:
        """Whether there are results left to take."""
        return bool(self._future_to_actor)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in order of submission.

        Args:
            timeout: seconds to wait.
            ignore_if_timedout: drop that result on timeout.

        Raises:
            StopIteration: no results are left.
            ValueError: `get_next_unordered` was used before: order cannot be kept.
            TimeoutError: no result in time.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        if self._next_return_index >= self._next_task_index:
            raise ValueError("get_next cannot follow get_next_unordered: the order is lost.")
        future = self._index_to_future[self._next_return_index]
        timed_out = timeout is not None and not _is_ready(future, timeout)
        if timed_out and not ignore_if_timedout:
            raise TimeoutError(f"No result within {timeout} s")
        del self._index_to_future[self._next_return_index]
        self._next_return_index += 1
        _, actor = self._future_to_actor.pop(_key(future))
        self._return_actor(actor)
        if timed_out:
            raise TimeoutError(f"No result within {timeout} s; it has been dropped.")
        return rayhpc.get(future)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """The next result that is ready, in any order.

        Args:
            timeout: seconds to wait.
            ignore_if_timedout: drop the results still outstanding on timeout.

        Raises:
            StopIteration: no results are left.
            TimeoutError: no result in time.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        firsts = {_first(x): x for x in self._future_to_actor}
        ready, _ = rayhpc.wait(list(firsts), num_returns=1, timeout=timeout)
        if not ready and not ignore_if_timedout:
            raise TimeoutError(f"No result within {timeout} s")
        key = firsts[ready[0]] if ready else next(iter(self._future_to_actor))
        index, actor = self._future_to_actor.pop(key)
        self._return_actor(actor)
        future = self._index_to_future.pop(index)
        self._next_return_index = max(self._next_return_index, index + 1)
        if not ready:
            raise TimeoutError(f"No result within {timeout} s; it has been dropped.")
        return rayhpc.get(future)

    def has_free(self) -> bool:
        """Whether an actor is idle and no work is waiting."""
        return bool(self._idle_actors) and not self._pending_submits

    def pop_idle(self) -> Any:
        """Take an idle actor out of the pool; None: all are busy."""
        return self._idle_actors.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Add an actor.

        Raises:
            ValueError: it is already in the pool.
        """
        busy = [x for _, x in self._future_to_actor.values()]
        if actor in self._idle_actors or actor in busy:
            raise ValueError("This actor is already in the pool.")
        self._return_actor(actor)

    def _return_actor(self, actor: Any) -> None:
        self._idle_actors.append(actor)
        if self._pending_submits:
            self.submit(*self._pending_submits.pop(0))

    def _forget_earlier(self) -> None:
        """Drop results of earlier submissions, which would mix with those of `map`."""
        while self.has_next():
            try:
                self.get_next_unordered(timeout=0, ignore_if_timedout=True)
            except (TimeoutError, RayError):
                continue
        self._next_return_index = self._next_task_index
        self._index_to_future.clear()

    def _iterate(self, take: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield take()


def _key(future: Any) -> Any:
    """A method with several returns gives a list, which cannot be a dict key."""
    return tuple(future) if isinstance(future, list) else future


def _first(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) else key


def _is_ready(future: Any, timeout: float) -> bool:
    refs = future if isinstance(future, list) else [future]
    try:
        ready, _ = rayhpc.wait(refs, num_returns=len(refs), timeout=timeout)
    except GetTimeoutError:
        return False
    return len(ready) == len(refs)
