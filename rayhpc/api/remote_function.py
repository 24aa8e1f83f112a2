"""Remote functions: what `@remote` makes of a function.

Used by `remote`.  A `RemoteFunction` is picklable and knows no process; what belongs to one (its
queue, its exported definition) is kept per process and made at the first call there.
"""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from rayhpc.api import options as opts
from rayhpc.api import placing, submitting
from rayhpc.runtime import current, serialization
from rayhpc.runtime.class_queue import ClassQueue
from rayhpc.runtime.context import running
from rayhpc.runtime.interrupts import inside
from rayhpc.runtime.pending import Pending
from rayhpc.runtime.process import Process
from rayhpc.wire.messages.tasks import STREAMING, TaskMore

P = ParamSpec("P")
R = TypeVar("R")

# This many submitted tasks are sent at the latest, also when no worker waits for one.
BATCH = 128


class _Prepared:
    """What all calls of a remote function from one process share."""

    __slots__ = ("captures", "definition", "group", "more", "name", "process", "queue", "returns")

    def __init__(self, process: Process, function: RemoteFunction[Any, Any], group: bytes) -> None:
        options = function.options_given
        context = process.facts
        environment = placing.environment_of(options, process.environment())
        resources = opts.resources(options)
        wanted = placing.scheduling_class(options, resources, context.job, environment)
        self.process = process
        self.group = group
        self.queue: ClassQueue = process.submitter.queue_for(wanted)
        self.definition = function.definition_id()
        process.submitter.definitions[self.definition] = function.blob()
        self.returns = submitting.returns_of(options.num_returns)
        self.captures = placing.captures_children(options)
        self.name = options.name or function.name
        retries = options.max_retries
        window = options._generator_backpressure_num_objects
        self.more = TaskMore(
            name=options.name or "",
            retry_on=_retry_on(options.retry_exceptions),
            window=window if window is not None and window > 0 else 0,
            max_calls=options.max_calls or 0,
            capture_group=self.captures,
            max_retries=retries,
        )

    def needs_more(self) -> bool:
        """Whether every task carries the options beyond the common ones."""
        more = self.more
        return bool(
            more.name or more.retry_on or more.window or more.max_calls or more.capture_group
        )


class RemoteFunction(Generic[P, R]):
    """A function whose calls run on the cluster.

    Call it with `.remote(...)`, which returns an `ObjectRef` at once; `.options(...)` changes
    options for a call; `.bind(...)` is not served.
    """

    def __init__(self, function: Callable[P, R], options: opts.FunctionOptions) -> None:
        functools.update_wrapper(self, function)
        self.name = getattr(function, "__qualname__", repr(function))
        self.options_given = options
        self._function = function
        self._blob: bytes | None = None
        self._definition: bytes | None = None
        self._kept: list[Any] = []
        self._prepared: _Prepared | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        raise TypeError(
            f"Remote functions cannot be called directly: use {self.name}.remote(...) instead of "
            f"{self.name}(...), or {self.name}._function(...) to run it in this process."
        )

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the function on the cluster.

        Returns:
            An `ObjectRef` of the result; a list of them with num_returns > 1, None with 0, an
            `ObjectRefGenerator` with "streaming".

        Raises:
            TypeError: an argument cannot be pickled, or does not fit the function's signature.
        """
        process = current.process()
        prepared = self._prepared
        if (
            prepared is None
            or prepared.process is not process
            or prepared.group != placing.inherited_group()
        ):
            prepared = self._prepare(process)
        with inside:
            return _submit(process, prepared, args, kwargs)

    def options(self, **changed: Any) -> RemoteFunction[P, R]:
        """The same function with other options.

        Raises:
            ValueError: an unknown option, with the nearest right one, or an impossible value.
            TypeError: a value of the wrong type.
        """
        other = RemoteFunction(self._function, self.options_given.merged(**changed))
        other._blob, other._definition, other._kept = self._blob, self._definition, self._kept
        return other

    def blob(self) -> bytes:
        """The pickled function."""
        if self._blob is None:
            with serialization.collect_refs() as found:
                self._blob = serialization.dump_definition(self._function)
            self._kept = list(found)
        return self._blob

    def definition_id(self) -> bytes:
        """The id its workers know it by: a hash of the pickle."""
        if self._definition is None:
            self._definition = serialization.definition_id(self.blob())
        return self._definition

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Not served: rayhpc has no lazily built graphs."""
        from rayhpc.exceptions import NotServedError

        raise NotServedError("bind() (ray.dag)", "call .remote() with references as arguments")

    def _prepare(self, process: Process) -> _Prepared:
        self._prepared = prepared = _Prepared(process, self, placing.inherited_group())
        return prepared

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.update(_prepared=None, _blob=None, _definition=None, _kept=[])
        return state

    def __reduce__(self) -> Any:
        return _rebuild, (self._function, self.options_given)

    def __repr__(self) -> str:
        return f"RemoteFunction({self.name})"


def _rebuild(function: Any, options: opts.FunctionOptions) -> RemoteFunction[Any, Any]:
    return RemoteFunction(function, options)


def _submit(process: Process, prepared: _Prepared, args: Any, kwargs: Any) -> Any:
    queue = prepared.queue
    more = prepared.more
    pending = Pending(
        process.new_id(), b"", prepared.definition, prepared.returns, more.max_retries, prepared.name
    )
    pending.queue = queue
    packed = bool(args or kwargs) and submitting.set_arguments(process, pending, args, kwargs)
    context = running.get()
    if context is not None or packed or prepared.needs_more():
        parent = context.tid if context is not None else b""
        pending.parent = parent
        pending.more = TaskMore(
            more.name,
            parent,
            more.retry_on,
            packed,
            more.window,
            more.max_calls,
            more.capture_group,
            more.max_retries,
        )
    if prepared.returns == STREAMING:
        pending.stream = process.streams.open(pending.tid, more.window)
    pending.submitted = time.time()
    refs = submitting.references_of(process, pending)
    inbox = process.submitter.inbox
    inbox.append(pending)
    waiting = len(inbox)
    if waiting >= BATCH or (waiting == 1 and queue.hungry):
        process.flush()
    return refs


def _retry_on(retry_exceptions: Any) -> bytes:
    if retry_exceptions is True:
        return b"*"
    return pickle.dumps(list(retry_exceptions)) if retry_exceptions else b""
