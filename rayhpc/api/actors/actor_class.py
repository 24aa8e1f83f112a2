"""Actor classes: what `@remote` makes of a class.

Used by `remote`.  An `ActorClass` is picklable and not tied to a process; per-process state is
created at the first `.remote()` there.  The class's own attributes can be read through it, but no
class can inherit from it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from rayhpc.api.actors.actor_handle import ActorHandle, from_spec
from rayhpc.api.actors.actor_kind import ActorKind, Method, has_async_methods, methods_of
from rayhpc.api.groups import placing
from rayhpc.api.session import runtime_env
from rayhpc.api.tasks import binding, submitting
from rayhpc.api.tasks import options as opts
from rayhpc.api.tasks.export import Export
from rayhpc.api.tasks.signatures import Shape, shape_of
from rayhpc.runtime.owner.definitions import Definition
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.process import current
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.interrupts import inside
from rayhpc.runtime.values import serialization
from rayhpc.wire.messages.actors import ActorSpec

T = TypeVar("T")


class ActorClassInheritanceException(TypeError):  # noqa: N818 — Ray's name
    """A class was defined that inherits from an actor class."""


class ActorClass(Generic[T]):
    """A class whose instances each live in a process of their own.

    `.remote(…)` creates an instance and returns its handle at once; `.options(…)` overrides options
    for one.  The actor ends when no handles are left, after the calls in progress but no later than
    30 s after that; a class that has something to clean up does so in `__ray_shutdown__()`.

    Args:
        cls: the class.
        options: how its instances run.
    """

    def __init__(self, cls: type[T], options: opts.ActorOptions) -> None:
        self.__ray_actor_class__ = cls
        self.options_given = options
        self.__doc__ = cls.__doc__
        self._shared = _Shared(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.__ray_actor_class__.__name__
        raise TypeError(
            f"Actors cannot be instantiated directly: use {name}.remote(...) instead of "
            f"{name}(...)."
        )

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Create an actor.

        Returns:
            Its handle; an error in the constructor is raised by the first call's result.

        Raises:
            TypeError: the arguments do not match the constructor, or one cannot be pickled.
            ValueError: the actor's name is taken.
        """
        client = current.client()
        shared = self._shared
        if shared.shape is not None:
            shared.shape.check(shared.name, args, kwargs)
        with inside:
            return _make(client, shared, self.options_given, args, kwargs)

    def options(self, **changed: Any) -> ActorClass[T]:
        """The same class with other options.

        Raises:
            ValueError: an unknown option (the text suggests the closest one), or an invalid value.
            TypeError: a value of the wrong type.
        """
        other = make_actor_class(self.__ray_actor_class__, self.options_given.merged(**changed))
        other._shared = self._shared
        return other

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A graph node that creates an actor when the graph runs (`util.dag`)."""
        return binding.class_node(self, args, kwargs)

    def _remote(self, args: Any = None, kwargs: Any = None, **changed: Any) -> ActorHandle[T]:
        chosen = self.options(**changed) if changed else self
        return chosen.remote(*(args or ()), **(kwargs or {}))

    def __dir__(self) -> list[str]:
        shown = {*super().__dir__(), *dir(self.__ray_actor_class__)}
        return sorted(shown - {"options_given"})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "__ray_actor_class__" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.__ray_actor_class__, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type[T]]:
        name = self.__ray_actor_class__.__name__
        raise ActorClassInheritanceException(
            f"Attempted to define a subclass of actor class {name!r}. Inheriting from actor "
            f"classes is not currently supported: leave @remote away from {name!r} and give it to "
            "the classes that inherit from it, or make the actor class with remote(cls)."
        )

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return make_actor_class, (self.__ray_actor_class__, self.options_given)

    def __repr__(self) -> str:
        return f"ActorClass({self.__ray_actor_class__.__name__})"


class _Shared:
    """State shared by all actors of one class in this process, whatever their options."""

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.export = Export(cls, self.name)
        self._methods: dict[str, Method] | None = None
        self._has_async = False
        self._kinds: dict[tuple[Any, ...], tuple[ActorKind, bytes]] = {}

    @functools.cached_property
    def shape(self) -> Shape | None:
        """The constructor's parameters; None if unknown.

        Only computed at the first call: while a self-referencing class is being unpickled it is
        incomplete and has no methods yet.
        """
        return shape_of(self.cls)

    def kind(self, options: opts.ActorOptions) -> tuple[ActorKind, bytes]:
        """What handles of an actor with these options carry, and its pickle."""
        groups = tuple((options.concurrency_groups or {}).items())
        key = (
            groups,
            options.max_task_retries,
            options.max_pending_calls,
            options.max_concurrency,
            options.allow_out_of_order_execution,
            options.enable_task_events,
        )
        found = self._kinds.get(key)
        if found is None:
            if self._methods is None:
                self._methods = methods_of(self.cls)
                self._has_async = has_async_methods(self.cls)
            kind = ActorKind(self.name, self._methods, options, self._has_async)
            kind.check_methods()
            found = self._kinds[key] = kind, serialization.dump_definition(kind)
        return found


def make_actor_class(cls: type[T], options: opts.ActorOptions) -> ActorClass[T]:
    """The actor class for a class; its type is named after it, as in Ray."""
    body = {"__module__": cls.__module__, "__doc__": cls.__doc__}
    kind: Callable[..., ActorClass[T]] = type(f"ActorClass({cls.__name__})", (ActorClass,), body)
    return kind(cls, options)


def _make(
    client: Client,
    shared: _Shared,
    options: opts.ActorOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ActorHandle[Any]:
    definition = shared.export.definition(client)
    spec = _spec(client, shared, definition, options)
    # Kept for as long as the actor may be (re)started, and with it whatever the class captured.
    pending = Pending(spec.actor, b"", definition, 1, 0, f"{shared.name}.__init__")
    packed = submitting.set_arguments(client, pending, args, kwargs) if args or kwargs else 0
    if packed:
        spec = msgspec.structs.replace(spec, packed=True)
    if not spec.name:
        return ActorHandle(spec.actor, spec.methods, client.create_actor(spec, pending))
    lifeline, existing = client.create_named_actor(spec, pending, options.get_if_exists)
    if existing is not None:
        return from_spec(existing)
    return ActorHandle(spec.actor, spec.methods, lifeline)


def _spec(
    client: Client, shared: _Shared, definition: Definition, options: opts.ActorOptions
) -> ActorSpec:
    kind, blob = shared.kind(options)
    facts = client.facts
    wanted, held = opts.actor_resources(options)
    environment = runtime_env.environment_for(client, options.runtime_env)
    return ActorSpec(
        actor=client.new_actor_id(),
        owner=client.me,
        job=facts.job,
        class_name=shared.name,
        definition_id=definition.id,
        definition=definition.blob,
        methods=blob,
        args=b"",
        deps=[],
        placing=placing.scheduling_class(options, wanted, facts.job, environment),
        holding=placing.fixed_point(held),
        name=options.name or "",
        namespace=options.namespace or facts.namespace,
        detached=options.lifetime == "detached" or (options.lifetime is None and facts.detached),
        max_restarts=options.max_restarts,
        max_task_retries=options.max_task_retries,
        max_concurrency=kind.max_concurrency,
        is_async=kind.is_async,
        groups=kind.groups,
        max_pending_calls=options.max_pending_calls,
        capture_group=placing.captures_children(options),
        unlisted=kind.is_unlisted,
    )
