"""Calling an actor's method.

Created by `actor_handle` at every attribute access, so it is kept small: what calls share is in
the handle's kind.  The call joins the caller's queue, which preserves order (`runtime.calls`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from rayhpc.api.actors.actor_kind import OPTIONS_ATTRIBUTE, ActorKind, CallPlan
from rayhpc.api.tasks import binding, submitting
from rayhpc.api.tasks.options import METHOD_CHECKS, MethodOptions
from rayhpc.api.tasks.unknown_names import refuse_unknown
from rayhpc.exceptions import PendingCallsLimitExceeded
from rayhpc.runtime.owner.actor_client import ActorClient
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.context import running
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.values.references import ObjectRef


class Handle(Protocol):
    """What a method needs from its handle (`actor_handle.ActorHandle`)."""

    _ray_actor: bytes
    _ray_kind: ActorKind
    _ray_lifeline: ObjectRef[Any] | None


class ActorMethod:
    """A method of an actor: `handle.method.remote(…)` calls it and returns a reference at once."""

    __slots__ = ("_handle", "_name", "_plan")

    def __init__(self, handle: Handle, name: str, plan: CallPlan) -> None:
        self._handle = handle
        self._name = name
        self._plan = plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"Actor methods cannot be called directly: use {self._plan.title}.remote(...) instead "
            f"of {self._plan.title}(...)."
        )

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method.

        Returns:
            An `ObjectRef` of the result; a list of them with num_returns > 1, None with 0, an
            `ObjectRefGenerator` for generators.

        Raises:
            TypeError: the arguments do not match the method, or one cannot be pickled.
            PendingCallsLimitExceeded: the actor's max_pending_calls is reached.
        """
        client = current.client()
        plan = self._plan
        shape = plan.shape
        if shape is not None and (kwargs or not shape.least <= len(args) <= shape.most):
            shape.check(plan.title, args, kwargs)
        # `with inside`, written out: it is a part of every call.
        thread = inside.thread
        thread.depth += 1
        try:
            return _submit(client, self._handle, self._name, plan, args, kwargs)
        finally:
            thread.depth -= 1
            if inside.pending:
                inside.raise_if_left()

    def options(self, **changed: Any) -> ActorMethod:
        """The same method with other options: num_returns, name, concurrency_group,
        max_task_retries, retry_exceptions.

        Raises:
            ValueError: an unknown option or group (the text lists the valid ones), or an invalid
                value.
            TypeError: a value of the wrong type.
        """
        options = MethodOptions().merged(**changed)
        plan = CallPlan(self._handle._ray_kind, self._name, options)
        return ActorMethod(self._handle, self._name, plan)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A graph node that calls the method when the graph runs (`util.dag`)."""
        returns = self._plan.returns
        return binding.method_node(self, self._handle, self._name, returns, args, kwargs)

    @property
    def _num_returns(self) -> int:
        """How many references a call returns; -1 for "dynamic", -2 for generators."""
        return self._plan.returns

    def _remote(self, args: Any = None, kwargs: Any = None, **changed: Any) -> Any:
        chosen = self.options(**changed) if changed else self
        return chosen.remote(*(args or ()), **(kwargs or {}))

    def __repr__(self) -> str:
        return f"ActorMethod({self._plan.title})"


def method(*args: Any, **options: Any) -> Callable[[Any], Any]:
    """Decorator that sets options for all calls of an actor method.

    Args:
        args: must be empty: the decorator requires options.
        options: num_returns, concurrency_group, max_task_retries, retry_exceptions, name.

    Raises:
        TypeError: used without options, or an option has the wrong type.
        ValueError: an unknown option (the text suggests the closest one), or an invalid value.
    """
    if args or not options:
        raise TypeError(
            "The @method decorator must be applied using at least one of its options by name, for "
            "example '@method(num_returns=2)'."
        )
    for name in options:
        if name not in METHOD_CHECKS:
            refuse_unknown(name, "actor methods", METHOD_CHECKS)
    checked = MethodOptions().merged(**options)

    def annotate(function: Any) -> Any:
        setattr(function, OPTIONS_ATTRIBUTE, checked)
        return function

    return annotate


def _submit(
    client: Client,
    handle: Handle,
    name: str,
    plan: CallPlan,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    target = client.actor(handle._ray_actor, handle)
    limit = handle._ray_kind.max_pending_calls
    if limit > 0:
        _check_room(client, target, limit, plan)
    tid, returns = client.new_id(), plan.returns
    pending = Pending(tid, b"", None, returns, plan.retries, plan.label)
    pending.method = name
    pending.group = plan.group
    target.overtakes = handle._ray_kind.is_out_of_order
    packed = submitting.set_arguments(client, pending, args, kwargs) if args or kwargs else 0
    # The actor lives at least until its outstanding calls have finished.
    lifeline = handle._ray_lifeline
    if lifeline is not None:
        pending.keep = [lifeline] if pending.keep is None else [lifeline, *pending.keep]
    context = running.get()
    if context is not None or packed or plan.further.is_needed:
        pending.parent = context.tid if context is not None else b""
        pending.more = plan.further.of(pending.parent, packed)
    pending.submitted = time.time()
    client.call(pending, target)
    return ObjectRef(tid, True) if returns == 1 else submitting.references_to(pending)


def _check_room(client: Client, target: ActorClient[Pending], limit: int, plan: CallPlan) -> None:
    waiting = client.calls_waiting(target)
    if waiting >= limit:
        raise PendingCallsLimitExceeded(
            f"{plan.title}: {waiting} calls wait, and the actor's max_pending_calls is {limit}. "
            "Wait for some of them, or raise the limit."
        )
