"""What a handle knows about its actor: the methods, their options, and how calls may run.

Created by `actor_class` once per class and set of options.  Carried by every handle
(`actor_handle`) and, for handles looked up by name, by the actor's record at the head.  Holds no
actor state.
"""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import Any

import msgspec

from rayhpc.api.tasks import submitting
from rayhpc.api.tasks.given import encodable
from rayhpc.api.tasks.options import ASYNC_MAX_CONCURRENCY, ActorOptions, MethodOptions
from rayhpc.api.tasks.remote_function import retry_on
from rayhpc.api.tasks.signatures import Shape, is_async, is_generator, shape_of
from rayhpc.wire.messages.tasks import TaskMore

# Where `method` stores its options on a function.
OPTIONS_ATTRIBUTE = "__ray_method_options__"
# The methods every actor has.
ALWAYS = ("__ray_call__", "__ray_ready__", "__ray_terminate__")


class Method(msgspec.Struct, frozen=True):
    """One method: its own options, whether it is a generator, its parameters (None: unknown)."""

    options: MethodOptions
    is_generator: bool = False
    shape: Shape | None = None


class CallPlan:
    """What all calls of a method with the same options have in common."""

    __slots__ = ("further", "group", "label", "retries", "returns", "shape", "title")

    def __init__(self, kind: ActorKind, name: str, options: MethodOptions) -> None:
        method = kind.methods[name]
        merged = _over(method.options, options)
        self.title = f"{kind.class_name}.{encodable('method', name)}"
        self.label = merged.name or self.title
        self.shape = method.shape
        self.returns = submitting.returns_of(merged.num_returns, method.is_generator)
        self.group = merged.concurrency_group or ""
        retries = merged.max_task_retries
        self.retries = kind.max_task_retries if retries is None else retries
        events = merged.enable_task_events
        self.further = submitting.Further(
            TaskMore(
                name=merged.name or "",
                retry_on=retry_on(merged.retry_exceptions),
                window=max(0, merged._generator_backpressure_num_objects or 0),
                max_retries=self.retries,
                unlisted=kind.is_unlisted if events is None else not events,
                function=self.title if merged.name else "",
            )
        )
        kind.check_group(self.group)


class ActorKind:
    """An actor class as its handles see it.

    Args:
        class_name: the class's name.
        methods: name → method.
        options: the actor's options.
        has_async: whether any method runs on an event loop.
    """

    def __init__(
        self, class_name: str, methods: dict[str, Method], options: ActorOptions, has_async: bool
    ) -> None:
        self.class_name = class_name
        self.methods = methods
        self.is_async = has_async
        self.groups = dict(options.concurrency_groups or {})
        self.max_task_retries = options.max_task_retries
        self.max_pending_calls = options.max_pending_calls
        # Whether calls are in no listing unless they are to be.
        self.is_unlisted = options.enable_task_events is False
        limit = options.max_concurrency
        self.max_concurrency = limit or (ASYNC_MAX_CONCURRENCY if has_async else 1)
        is_concurrent = self.is_async or self.max_concurrency > 1 or bool(self.groups)
        # Whether a call with its arguments ready may start before earlier calls.
        self.is_out_of_order = is_concurrent or bool(options.allow_out_of_order_execution)
        self.plans: dict[str, CallPlan] = {}

    def plan(self, name: str) -> CallPlan:
        """How the method is called when no options are given.

        Raises:
            AttributeError: there is no such method; the text lists the ones there are.
        """
        found = self.plans.get(name)
        if found is None:
            if name not in self.methods:
                names = ", ".join(x for x in self.methods if x not in ALWAYS and x[:2] != "__")
                raise AttributeError(
                    f"The actor {self.class_name} has no method {name!r}. Its methods are: "
                    f"{names or 'none'}."
                )
            found = self.plans[name] = CallPlan(self, name, MethodOptions())
        return found

    def check_group(self, group: str) -> None:
        """Check the name of a concurrency group.

        Raises:
            ValueError: the actor has no such group; the text lists the ones it has.
        """
        if group and group not in self.groups:
            names = ", ".join(sorted(self.groups)) or "none"
            raise ValueError(
                f"The actor {self.class_name} has no concurrency group {group!r}; it has: {names}. "
                "Define groups with @remote(concurrency_groups={name: limit})."
            )

    def check_methods(self) -> None:
        """Check the concurrency groups that methods name.

        Raises:
            ValueError: a method names a group that the actor does not have.
        """
        for method in self.methods.values():
            self.check_group(method.options.concurrency_group or "")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "plans": {}}


@functools.lru_cache(maxsize=512)
def kind_of(blob: bytes) -> ActorKind:
    """The kind in a handle's pickle; handles of one class share the decoded object."""
    kind: ActorKind = pickle.loads(blob)
    return kind


def methods_of(cls: type[Any]) -> dict[str, Method]:
    """The methods callable through a handle, inherited ones included."""
    found = {}
    for name in dir(cls):
        if hasattr(object, name) and getattr(cls, name, None) is getattr(object, name):
            continue
        try:
            function = getattr(cls, name)
        except Exception:  # a descriptor that only works on instances
            continue
        if not inspect.isroutine(function):
            continue
        static = inspect.getattr_static(cls, name)
        bound = isinstance(static, (staticmethod, classmethod)) or inspect.ismethod(function)
        options = getattr(function, OPTIONS_ATTRIBUTE, None) or MethodOptions()
        shape = shape_of(function, skip=0 if bound else 1)
        found[name] = Method(options, is_generator(function), shape)
    for name in ALWAYS:
        found[name] = Method(MethodOptions())
    return found


def has_async_methods(cls: type[Any]) -> bool:
    """Whether any method makes actors of this class asynchronous."""
    return any(is_async(member) for name in dir(cls) if (member := getattr(cls, name, None)))


def _over(base: MethodOptions, changed: MethodOptions) -> MethodOptions:
    given = {k: v for k, v in msgspec.structs.asdict(changed).items() if v is not None}
    return msgspec.structs.replace(base, **given) if given else base
