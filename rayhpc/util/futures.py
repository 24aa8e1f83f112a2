"""`Executor`: `concurrent.futures` on the cluster.

Used by programs and by libraries that accept an executor.  Calls not yet submitted to the cluster
can be cancelled, as with the standard library's executors.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import rayhpc
from rayhpc.api.objects.completion import value_of
from rayhpc.api.objects.timeouts import seconds
from rayhpc.util.dispatch import Dispatcher, Target, WorkItem

# Without max_workers, this many calls per CPU of the cluster are submitted ahead of need.
AHEAD_PER_CPU = 4


class Executor(concurrent.futures.Executor):
    """Runs functions as tasks anywhere in the cluster.

    Args:
        max_workers: how many calls may run at a time; None: as many as the cluster has room for.
        remote_options: options of the tasks, as for `remote` (num_cpus, resources, max_retries, …).

    Raises:
        ValueError: max_workers is below 1, or an option is not one of `remote`'s.
    """

    def __init__(self, max_workers: int | None = None, **remote_options: Any) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        self._remote = rayhpc.remote(_call)
        if remote_options:
            self._remote = self._remote.options(**remote_options)
        self._max_workers = max_workers or int(rayhpc.cluster_resources().get("CPU", 1)) or 1
        limit = max_workers or self._max_workers * AHEAD_PER_CPU
        self._dispatcher = Dispatcher([Target(self._remote, limit)])
        self._closed = threading.Event()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Run `fn(*args, **kwargs)`.

        Args:
            fn: the function.
            args: its arguments; references are resolved, as in a task.
            kwargs: its keyword arguments.

        Raises:
            RuntimeError: the executor was shut down.
        """
        if self._closed.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future(self._dispatcher, fn, args, kwargs)
        self._dispatcher.add([future.item])
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """The results of `fn` for the items of `iterables`, in order.

        Args:
            fn: the function.
            iterables: its arguments, one from each per call.
            timeout: seconds, from now, after which taking a result raises TimeoutError.
            chunksize: how many calls form one task.
            buffersize: how many tasks may be ahead of the results taken; None: all.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        limit = seconds("timeout", timeout)
        deadline = None if limit is None else time.monotonic() + limit
        calls = zip(*iterables, strict=False)
        chunks = iter(lambda: list(itertools.islice(calls, chunksize)), [])
        ahead = list(itertools.islice(chunks, buffersize))
        futures = [self.submit(_run_chunk, fn, chunk) for chunk in ahead]
        return self._results(fn, futures, chunks, deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls.

        Args:
            wait: wait until all are done.
            cancel_futures: cancel those not yet submitted to the cluster.
        """
        self._closed.set()
        if cancel_futures:
            self._dispatcher.close(concurrent.futures.CancelledError())
        if wait:
            self._dispatcher.wait(self._dispatcher.is_idle)

    def _results(
        self, fn: Any, futures: list[Future], chunks: Iterator[Any], deadline: float | None
    ) -> Iterator[Any]:
        futures.reverse()
        try:
            while futures:
                left = None if deadline is None else deadline - time.monotonic()
                values = futures.pop().result(left)
                following = next(chunks, None)
                if following is not None:
                    futures.insert(0, self.submit(_run_chunk, fn, following))
                yield from values
        finally:
            for future in futures:
                future.cancel()


class Future(concurrent.futures.Future[Any]):
    """The result of a call; waiting for it inside a task lends the task's CPUs to others."""

    def __init__(self, dispatcher: Dispatcher, fn: Any, args: Any, kwargs: Any) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.item = _Call(self, fn, args, kwargs)

    def result(self, timeout: float | None = None) -> Any:
        """The call's result.

        Raises:
            TimeoutError: no result within `timeout` seconds.
            CancelledError: the call was cancelled.
            Exception: what it raised.
        """
        self._wait(timeout)
        return super().result(0 if timeout is not None and not self.item.ended else None)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised; None: nothing. Otherwise raises as `result` does."""
        self._wait(timeout)
        return super().exception(0 if timeout is not None and not self.item.ended else None)

    def cancel(self) -> bool:
        """Cancel the call if it was not yet submitted to the cluster; returns whether it was."""
        if self._dispatcher.withdraw(self.item):
            self.item.finish(concurrent.futures.CancelledError())
            self.item.tell()
        return self.cancelled()

    def _wait(self, timeout: float | None) -> None:
        if not self.item.ended and self._dispatcher.wait(lambda: self.item.ended, timeout):
            self.item.tell()


class _Call(WorkItem):
    """A call in flight; completes its future."""

    def __init__(self, future: Future, fn: Any, args: Any, kwargs: Any) -> None:
        self._future = future
        self._work = (fn, args, kwargs)
        self._error: BaseException | None = None
        self._told = threading.Lock()
        self.ended = False

    def start(self, target: Target) -> Any:
        fn, args, kwargs = self._work
        ref = target.runner.remote(fn, *args, **kwargs)
        self._future.set_running_or_notify_cancel()
        return ref

    def finish(self, error: BaseException | None) -> None:
        self._work = (None, (), {})
        self._error = error
        self.ended = True

    def tell(self) -> None:
        """Complete the future; the first thread to get here does it."""
        if not self._told.acquire(blocking=False):
            return
        future = self._future
        if isinstance(self._error, concurrent.futures.CancelledError):
            concurrent.futures.Future.cancel(future)
            future.set_running_or_notify_cancel()
            return
        if self._error is not None:
            future.set_exception(self._error)
            return
        try:
            value = value_of(self.ref)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(value)
        self.ref = None


def _call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return fn(*args, **kwargs)


def _run_chunk(fn: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in calls]


__all__ = ["Executor", "Future"]
