"""`Pool`: `multiprocessing.Pool` whose processes are actors anywhere in the cluster.

Used by programs and by libraries that accept a pool.  `rayhpc.util.dispatch` schedules the work
over the processes.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import rayhpc
from rayhpc.api.objects.completion import pack_error
from rayhpc.util.debug import log_once
from rayhpc.util.dispatch import Dispatcher, Target
from rayhpc.util.multiprocessing.results import AsyncResult, CallFailure, IMapIterator

# A map is split into this many chunks per process by default.
CHUNKS_PER_PROCESS = 4


class Pool:
    """A pool of processes that run functions.

    Args:
        processes: how many; None: as many as the cluster has CPUs.
        initializer: runs in each process when it starts.
        initargs: its arguments.
        maxtasksperchild: after this many chunks a process is replaced by a new one.
        context: ignored; kept for compatibility with the standard library.
        ray_address: the cluster to connect to, if this process is not connected yet.
        ray_remote_args: options of the actors, as for `remote`.

    Raises:
        ValueError: no processes, or more than the cluster has CPUs.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if not rayhpc.is_initialized():
            _connect(processes, ray_address)
        self._processes = _checked(processes)
        options = {"num_cpus": 0, "scheduling_strategy": "SPREAD"}
        actor_class = rayhpc.remote(_Process).options(**{**options, **(ray_remote_args or {})})
        arguments = (initializer, tuple(initargs or ()))
        self._children = [
            _Child(actor_class, arguments, maxtasksperchild or 0) for _ in range(self._processes)
        ]
        self._dispatcher = Dispatcher([Target(child) for child in self._children])
        self._closed = False
        self._terminated = False
        self._callbacks: concurrent.futures.ThreadPoolExecutor | None = None
        if context is not None and log_once("rayhpc.Pool.context"):
            print("rayhpc: the pool's 'context' has no meaning on a cluster and is ignored.")
        rayhpc.get([child.actor.__ray_ready__.remote() for child in self._children])

    # -- one call -------------------------------------------------------------------------------
    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The result of `func(*args, **kwargs)`."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """Run `func(*args, **kwargs)`.

        Args:
            func: the function.
            args: its arguments.
            kwargs: its keyword arguments.
            callback: called with the result, in a thread of the pool.
            error_callback: called with the exception.
        """
        self._check_running()
        result = self._result(True, callback, error_callback)
        return result.start(func, [[(tuple(args or ()), dict(kwargs or {}))]])

    # -- many calls -------------------------------------------------------------------------------
    def map(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """The results of `func(x)` for each x, in order.

        Args:
            func: the function.
            iterable: its arguments.
            chunksize: how many calls go to a process at a time; None: a quarter of its share.
        """
        return list(self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """`map` without waiting; callbacks as in `apply_async`."""
        calls = [((x,), None) for x in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """The results of `func(*x)` for each x, in order."""
        return list(self.starmap_async(func, iterable, chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """`starmap` without waiting; callbacks as in `apply_async`."""
        calls = [(tuple(x), None) for x in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Like `map`, as an iterator; consumes the iterable as results are taken."""
        return self._imap(func, iterable, chunksize, in_order=True)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Like `imap`, but results come as they are ready."""
        return self._imap(func, iterable, chunksize, in_order=False)

    # -- the end ----------------------------------------------------------------------------------
    def close(self) -> None:
        """Accept no more work; what was submitted still runs."""
        self._closed = True

    def terminate(self) -> None:
        """End the processes at once; missing results become errors."""
        self._closed = True
        if not self._terminated:
            self._terminated = True
            self._dispatcher.close(RuntimeError("The pool was terminated."))
            if rayhpc.is_initialized():
                for child in self._children:
                    child.kill()
            self._end_callbacks()

    def join(self) -> None:
        """Wait until all work is done and the processes have ended.

        Raises:
            ValueError: the pool is neither closed nor terminated.
        """
        if not self._closed:
            raise ValueError("Pool is still running")
        self._dispatcher.wait(self._dispatcher.is_idle)
        if self._terminated or not rayhpc.is_initialized():
            return
        self._terminated = True
        ended = [child.actor.__ray_terminate__.remote() for child in self._children]
        rayhpc.wait(ended, num_returns=len(ended), timeout=10.0)
        self._end_callbacks()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    # -- details ----------------------------------------------------------------------------------
    def _map(
        self,
        func: Any,
        calls: list[tuple[Any, Any]],
        chunksize: int | None,
        callback: Any,
        error_callback: Any,
    ) -> AsyncResult:
        self._check_running()
        size = chunksize or -(-len(calls) // (self._processes * CHUNKS_PER_PROCESS)) or 1
        chunks = [calls[i : i + size] for i in range(0, len(calls), size)]
        # Sent once for all chunks: it may contain large data.
        function = rayhpc.put(func) if len(chunks) > 1 else func
        return self._result(False, callback, error_callback).start(function, chunks)

    def _imap(
        self, func: Any, iterable: Iterable[Any], chunksize: int | None, in_order: bool
    ) -> IMapIterator:
        self._check_running()
        size = chunksize if chunksize is not None else 1
        if size < 1:
            raise ValueError(f"Chunksize must be 1+, not {size}")
        chunks = _chunks((((x,), None) for x in iterable), size)
        ahead = 2 * self._processes
        return IMapIterator(self._dispatcher, rayhpc.put(func), chunks, ahead, in_order)

    def _result(self, is_single: bool, callback: Any, error_callback: Any) -> AsyncResult:
        return AsyncResult(
            self._dispatcher, is_single, callback, error_callback, self._callback_thread
        )

    def _callback_thread(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._callbacks is None:
            self._callbacks = concurrent.futures.ThreadPoolExecutor(1, "rayhpc-pool")
        return self._callbacks

    def _end_callbacks(self) -> None:
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=False)

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")


class _Child:
    """One process of the pool, replaced by a new one after its share of work."""

    def __init__(self, actor_class: Any, arguments: tuple[Any, Any], limit: int) -> None:
        self._actor_class = actor_class
        self._arguments = arguments
        self._limit = limit
        self._runs = 0
        self._killed = False
        self.actor = actor_class.remote(*arguments)

    def run(self, function: Any, calls: list[tuple[Any, Any]], goes_on: bool) -> Any:
        """Send it a chunk; returns the reference to the results."""
        if self._limit and self._runs >= self._limit:
            self.replace()
        self._runs += 1
        return self.actor.run.remote(function, calls, goes_on)

    def replace(self) -> None:
        """Continue in a new process; the old one, if alive, ends with its last handle."""
        if not self._killed:
            self.actor = self._actor_class.remote(*self._arguments)
            self._runs = 0

    def kill(self) -> None:
        """End the process at once, for good."""
        self._killed = True
        rayhpc.kill(self.actor)


class _Process:
    """The actor."""

    def __init__(self, initializer: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*arguments)

    def run(
        self, function: Callable[..., Any], calls: list[tuple[Any, Any]], goes_on: bool
    ) -> list[Any]:
        call = _result_or_failure if goes_on else _result
        return [call(function, args, kwargs or {}) for args, kwargs in calls]


def _result(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _result_or_failure(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return CallFailure(pack_error(error, getattr(function, "__name__", "run")))


def _connect(processes: int | None, address: str | None) -> None:
    """If there is no cluster, a pool starts one of its own size."""
    if address is not None and address != "local":
        rayhpc.init(address=address)
    elif processes is not None and processes > 0:
        rayhpc.init(address=address, num_cpus=processes)
    else:
        rayhpc.init(address=address)


def _checked(processes: int | None) -> int:
    cpus = int(rayhpc.cluster_resources().get("CPU", 0))
    count = cpus if processes is None else processes
    if count < 1:
        raise ValueError("Number of processes must be at least 1")
    if count > cpus:
        raise ValueError(
            f"A pool of {count} processes does not fit a cluster with {cpus} CPUs. Ask for fewer "
            "processes, or for a larger allocation."
        )
    return count


def _chunks(calls: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(calls, size)):
        yield chunk
