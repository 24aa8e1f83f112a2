"""What the asynchronous methods of a pool return: results of chunks, and iterators over them.

Used by `pool`.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from rayhpc.api.objects.completion import unpack_error, value_of
from rayhpc.exceptions import RayActorError
from rayhpc.util.dispatch import Dispatcher, Target, WorkItem


class PoolTaskError(Exception):
    """Kept so that programs can name it: errors of tasks are raised as themselves."""


class CallFailure:
    """Stands in a chunk's results for a call that failed while the others continued.

    Args:
        packed: the exception, as `api.objects.completion` packs it.
    """

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def error(self) -> BaseException:
        """The exception that the call raised."""
        return unpack_error(self._packed)


class _Raised:
    """Stands for the result of a call whose whole chunk failed."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def error(self) -> BaseException:
        """Why there is no result."""
        return self._error


class Chunk(WorkItem):
    """Calls of one function that run one after another in one process of the pool.

    Args:
        function: the function, or a reference to it.
        calls: the arguments of each call (args, kwargs).
        on_end: notified of the end; must be quick.
        tell: called afterwards, and may take its time.
        goes_on: if a call fails, the others keep their results (`CallFailure`); otherwise its
            error is the chunk's.
    """

    def __init__(
        self,
        function: Any,
        calls: list[tuple[Any, Any]],
        on_end: Callable[[Chunk], None],
        tell: Callable[[], None] = lambda: None,
        goes_on: bool = False,
    ) -> None:
        self._function = function
        self._calls = calls
        self._on_end = on_end
        self._tell = tell
        self._goes_on = goes_on
        self._child: Any = None
        self.size = len(calls)
        self.error: BaseException | None = None

    def start(self, target: Target) -> Any:
        """Send the calls to the target's actor."""
        self._child = target.runner
        return self._child.run(self._function, self._calls, self._goes_on)

    def finish(self, error: BaseException | None) -> None:
        """The actor has answered, or died, or was never called."""
        self._calls = []
        self.error = error
        if isinstance(error, RayActorError):
            self._child.replace()
        self._on_end(self)

    def tell(self) -> None:
        """Notify whoever is waiting."""
        self._tell()

    def values(self) -> list[Any]:
        """The results.

        Raises:
            RayError: a call failed, also an instance of its own exception's type; or the process
                died.
            Exception: it could not be started.
        """
        if self.error is not None:
            raise self.error
        found: list[Any] = value_of(self.ref)
        return found


class AsyncResult:
    """The result of `apply_async`, `map_async` or `starmap_async`."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        is_single: bool,
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
        pool_of_callbacks: Callable[[], concurrent.futures.Executor],
    ) -> None:
        self._dispatcher = dispatcher
        self._is_single = is_single
        self._callback = callback
        self._error_callback = error_callback
        self._pool_of_callbacks = pool_of_callbacks
        self._chunks: list[Chunk] = []
        self._left = 0
        self._failed: Chunk | None = None
        self._told = False

    def start(self, function: Any, chunks: list[list[tuple[Any, Any]]]) -> AsyncResult:
        """Submit the work; returns itself."""
        self._chunks = [Chunk(function, x, self._on_end, self._tell) for x in chunks]
        self._left = len(self._chunks)
        if not self._chunks:
            self._tell()
        self._dispatcher.add(list(self._chunks))
        return self

    def get(self, timeout: float | None = None) -> Any:
        """The result, or the list of results.

        Args:
            timeout: seconds to wait.

        Raises:
            multiprocessing.TimeoutError: no result in time.
            Exception: what a call raised.
        """
        if not self._dispatcher.wait(self.ready, timeout):
            raise multiprocessing.TimeoutError(f"No result within {timeout} s")
        return self._values()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, for up to `timeout` seconds."""
        self._dispatcher.wait(self.ready, timeout)

    def ready(self) -> bool:
        """Whether all calls have ended, or one has failed."""
        return self._left <= 0 or self._failed is not None

    def successful(self) -> bool:
        """Whether all calls have succeeded.

        Raises:
            ValueError: they have not all ended.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._failed is None

    def _values(self) -> Any:
        if self._failed is not None:
            self._failed.values()
        found = [value for chunk in self._chunks for value in chunk.values()]
        return found[0] if self._is_single else found

    def _on_end(self, chunk: Chunk) -> None:
        self._left -= 1
        if chunk.error is not None and self._failed is None:
            self._failed = chunk

    def _tell(self) -> None:
        wanted = self._callback is not None or self._error_callback is not None
        if wanted and self.ready() and not self._told:
            self._told = True
            self._pool_of_callbacks().submit(self._call_back)

    def _call_back(self) -> None:
        try:
            values = self._values()
        except Exception as error:
            if self._error_callback is not None:
                self._error_callback(error)
            return
        if self._callback is not None:
            self._callback(values)


class IMapIterator:
    """The iterator of `imap` and `imap_unordered`.

    Consumes the iterable only as fast as results are taken, a bounded number of chunks ahead.

    Args:
        dispatcher: where the work is submitted.
        function: the function, or a reference to it.
        chunks: the arguments of the calls, by chunk.
        ahead: how many chunks may be running or waiting to be taken.
        in_order: yield results in the order of the arguments.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        function: Any,
        chunks: Iterator[list[tuple[Any, Any]]],
        ahead: int,
        in_order: bool,
    ) -> None:
        self._dispatcher = dispatcher
        self._function = function
        self._source = chunks
        self._in_order = in_order
        self._started: deque[Chunk] = deque()
        self._ended: deque[Chunk] = deque()
        self._finished: set[Chunk] = set()
        self._values: deque[Any] = deque()
        for _ in range(ahead):
            self._start_one()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result.  A failed call yields its error as an item like any other (as in Ray;
        Python's own pool raises it).

        Args:
            timeout: seconds to wait.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: no result in time.
        """
        while not self._values:
            if not self._started:
                raise StopIteration
            if not self._dispatcher.wait(self._has_next, timeout):
                raise multiprocessing.TimeoutError(f"No result within {timeout} s")
            chunk = self._started[0] if self._in_order else self._ended.popleft()
            self._started.remove(chunk)
            self._finished.discard(chunk)
            self._start_one()
            self._values.extend(_each_of(chunk))
        value = self._values.popleft()
        if isinstance(value, CallFailure | _Raised):
            return value.error()
        return value

    def _has_next(self) -> bool:
        return self._started[0] in self._finished if self._in_order else bool(self._ended)

    def _on_end(self, chunk: Chunk) -> None:
        self._finished.add(chunk)
        if not self._in_order:
            self._ended.append(chunk)

    def _start_one(self) -> None:
        calls = next(self._source, None)
        if calls is not None:
            chunk = Chunk(self._function, calls, self._on_end, goes_on=True)
            self._started.append(chunk)
            self._dispatcher.add([chunk])


def _each_of(chunk: Chunk) -> list[Any]:
    """A chunk's results, or for each the error that took all of them."""
    try:
        return chunk.values()
    except Exception as error:
        return [_Raised(error)] * chunk.size
