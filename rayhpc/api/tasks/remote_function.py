"""Remote functions: what `@remote` makes of a function.

Used by `remote`.  A `RemoteFunction` is picklable and not tied to a process; per-process state
(its queue, its exported definition) is created at the first call there.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import cloudpickle

from rayhpc.api.groups import placing
from rayhpc.api.session import runtime_env
from rayhpc.api.tasks import binding, signatures, submitting
from rayhpc.api.tasks import options as opts
from rayhpc.api.tasks.export import Export
from rayhpc.runtime.owner.class_queue import ClassQueue
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.context import TaskContext, running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.values.names import name_of
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.messages.tasks import TaskMore

P = ParamSpec("P")
R = TypeVar("R")


class _Prepared:
    """State shared by all calls of a remote function from one process."""

    __slots__ = (
        "client",
        "definition",
        "further",
        "group",
        "job",
        "name",
        "queue",
        "retries",
        "returns",
    )

    def __init__(self, client: Client, function: RemoteFunction[Any, Any], group: bytes) -> None:
        options = function.options_given
        job = client.job
        environment = runtime_env.environment_for(client, options.runtime_env)
        resources = opts.resources(options)
        wanted = placing.scheduling_class(options, resources, job, environment)
        self.client = client
        self.job = job
        self.group = group
        self.queue: ClassQueue[Pending] = client.queue_for(wanted)
        self.definition = function.export.definition(client)
        self.returns = submitting.returns_of(options.num_returns, function.is_generator)
        self.name = options.name or function.name
        self.retries = options.max_retries
        self.further = submitting.Further(
            TaskMore(
                name=options.name or "",
                retry_on=retry_on(options.retry_exceptions),
                window=max(0, options._generator_backpressure_num_objects or 0),
                max_calls=_max_calls(options),
                capture_group=placing.captures_children(options),
                max_retries=options.max_retries,
                unlisted=options.enable_task_events is False,
                function=function.name if options.name else "",
            )
        )

    def is_current(self, client: Client, context: TaskContext | None) -> bool:
        """Whether this is still valid: the same process, job and placement group."""
        group = b"" if context is None or not context.capture_group else context.grant.group
        return self.client is client and self.job == client.job and self.group == group


class RemoteFunction(Generic[P, R]):
    """A function whose calls run on the cluster.

    Call it with `.remote(...)`, which returns an `ObjectRef` at once; `.options(...)` overrides
    options for a call.

    Args:
        function: what runs.
        options: how it runs.

    Raises:
        ValueError: the function is an `async def`.
    """

    def __init__(self, function: Callable[P, R], options: opts.FunctionOptions) -> None:
        if signatures.is_async(function):
            raise ValueError(
                "'async def' should not be used for remote tasks: make it a method of an actor, or "
                "call asyncio.run() in an ordinary function."
            )
        functools.update_wrapper(self, function)
        self.is_generator = signatures.is_generator(function)
        self.name = name_of(function)
        self.options_given = options
        self._function = function
        self.export = Export(function, self.name)
        self._prepared: _Prepared | None = None

    @functools.cached_property
    def shape(self) -> signatures.Shape | None:
        """The function's parameters; None if unknown.

        Only computed at the first call: while a self-referencing function is being unpickled it is
        incomplete and its defaults are missing.
        """
        return signatures.shape_of(self._function)

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
            TypeError: an argument cannot be pickled, or the arguments do not match the signature.
        """
        client = current.client()
        shape = self.shape
        if shape is not None and (kwargs or not shape.least <= len(args) <= shape.most):
            shape.check(self.name, args, kwargs)
        # `with inside`, written out: it is a part of every task.
        thread = inside.thread
        thread.depth += 1
        try:
            prepared, context = self._prepared, running.get()
            if prepared is None or not prepared.is_current(client, context):
                prepared = self._prepare(client)
            return _submit(client, prepared, context, args, kwargs)
        finally:
            thread.depth -= 1
            if inside.pending:
                inside.raise_if_left()

    def _remote(self, args: Any = None, kwargs: Any = None, **changed: Any) -> Any:
        function = self.options(**changed) if changed else self
        return function.remote(*(args or ()), **(kwargs or {}))

    def options(self, **changed: Any) -> RemoteFunction[P, R]:
        """The same function with other options.

        Raises:
            ValueError: an unknown option (the text suggests the closest one), or an invalid value.
            TypeError: a value of the wrong type.
        """
        other = RemoteFunction(self._function, self.options_given.merged(**changed))
        other.export = self.export
        return other

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A graph node that calls the function when the graph runs (`util.dag`)."""
        return binding.function_node(self, args, kwargs)

    def _prepare(self, client: Client) -> _Prepared:
        self._prepared = prepared = _Prepared(client, self, placing.inherited_group())
        return prepared

    def __reduce__(self) -> Any:
        return _rebuild, (self._function, self.options_given)

    def __repr__(self) -> str:
        return f"RemoteFunction({self.name})"


def _rebuild(function: Any, options: opts.FunctionOptions) -> RemoteFunction[Any, Any]:
    return RemoteFunction(function, options)


def _submit(
    client: Client, prepared: _Prepared, context: TaskContext | None, args: Any, kwargs: Any
) -> Any:
    tid = client.new_id()
    pending = Pending(
        tid, b"", prepared.definition, prepared.returns, prepared.retries, prepared.name
    )
    pending.queue = prepared.queue
    packed = submitting.set_arguments(client, pending, args, kwargs) if args or kwargs else 0
    if context is not None or packed or prepared.further.is_needed:
        pending.parent = context.tid if context is not None else b""
        pending.more = prepared.further.of(pending.parent, packed)
    pending.submitted = time.time()
    client.submit(pending)
    return ObjectRef(tid, True) if prepared.returns == 1 else submitting.references_to(pending)


def retry_on(retry_exceptions: Any) -> bytes:
    """The option retry_exceptions in the form messages carry it."""
    if retry_exceptions is True:
        return b"*"
    return cloudpickle.dumps(list(retry_exceptions), 5) if retry_exceptions else b""


def _max_calls(options: opts.FunctionOptions) -> int:
    """After how many calls the worker exits; with GPUs after one, since it keeps their memory."""
    if options.max_calls is None:
        return 1 if options.num_gpus else 0
    return options.max_calls
