"""Actor handles: what `.remote()` of an actor class returns and programs pass around.

Used by users.  A handle can be sent anywhere; in each process it acts as a separate caller.  It
holds the actor's lifeline, unless it was looked up by name or the actor is detached.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from rayhpc.api.actors.actor_kind import ActorKind, kind_of
from rayhpc.api.actors.actor_method import ActorMethod
from rayhpc.runtime.process import current
from rayhpc.runtime.values.ids import ActorID
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.messages.actors import ActorSpec

T = TypeVar("T")


class ActorHandle(Generic[T]):
    """A handle to an actor: methods are attributes, called with `.remote(…)`.

    Args:
        actor: the actor's id.
        blob: its kind (`actor_kind`), pickled.
        lifeline: the reference that keeps the actor alive; None: this handle does not.
    """

    __slots__ = ("__weakref__", "_ray_actor", "_ray_blob", "_ray_kind", "_ray_lifeline")

    def __init__(self, actor: bytes, blob: bytes, lifeline: ObjectRef[Any] | None) -> None:
        self._ray_actor = actor
        self._ray_blob = blob
        self._ray_lifeline = lifeline
        self._ray_kind: ActorKind = kind_of(blob)

    @property
    def _actor_id(self) -> ActorID:
        return ActorID(self._ray_actor)

    @property
    def _ray_actor_id(self) -> ActorID:
        return ActorID(self._ray_actor)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_ray_"):  # not set yet: the handle is being created
            raise AttributeError(name)
        return ActorMethod(self, name, self._ray_kind.plan(name))

    def __dir__(self) -> list[str]:
        own = (name for name in self._ray_kind.methods if not hasattr(object, name))
        return ["__init__", *own]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._ray_actor == self._ray_actor

    def __hash__(self) -> int:
        return hash(self._ray_actor)

    def __repr__(self) -> str:
        return f"Actor({self._ray_kind.class_name}, {self._ray_actor.hex()})"

    def __copy__(self) -> ActorHandle[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ActorHandle[T]:
        return self

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        current.refuse_foreign(self._ray_actor, repr(self))
        return _rebuild, (self._ray_actor, self._ray_blob, self._ray_lifeline)


def from_spec(spec: ActorSpec) -> ActorHandle[Any]:
    """A handle built from the head's record of an actor; it does not keep the actor alive."""
    return ActorHandle(spec.actor, spec.methods, None)


def _rebuild(actor: bytes, blob: bytes, lifeline: ObjectRef[Any] | None) -> ActorHandle[Any]:
    return ActorHandle(actor, blob, lifeline)
