"""Creates an actor: registers it with the head, and keeps alive what it needs until it is running.

Used by `process.client` and by the simulation, in the leading thread except for the constructor.
The actor's lifeline is an object of ours whose id is the actor's; when nobody refers to it any
more, the head is told.  What depends on arguments that are not ready yet is sent later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.runtime.owner import dependencies
from rayhpc.runtime.owner.calls import Callers
from rayhpc.runtime.owner.entries import INLINE, Entry
from rayhpc.runtime.owner.ownership import Ownership
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import actors

Send = Callable[[Address, msgspec.Struct], None]
_NOTHING = serialization.to_inline(serialization.serialize(None))


class ActorCreation:
    """An actor being created; kept alive by what waits for it, and keeps its arguments alive.

    Args:
        ownership: this process's reference table.
        callers: the actors it knows.
        send: sends a message.
        spec: the actor, without its constructor's arguments.
        pending: the constructor's arguments.

    Attributes:
        lifeline: keeps the actor alive until `watch`; None: the actor is detached.
    """

    def __init__(
        self,
        ownership: Ownership,
        callers: Callers,
        send: Send,
        spec: actors.ActorSpec,
        pending: Pending,
    ) -> None:
        self.spec = spec
        self._ownership = ownership
        self._send = send
        self._pending = pending
        self._client = callers.client_of(spec.actor)
        self.lifeline = None if spec.detached else self._make_lifeline()
        # The head must know the actor before it is asked about it.
        self._client.watched = True
        self._client.unregistered = []

    def register_when_ready(self) -> None:
        """Register the actor once its arguments are ready."""
        if self._pending.deps:
            dependencies.when_ready(self._ownership, self._pending, lambda _: self._register())
        else:
            self._register()

    def request(self, token: int, get_if_exists: bool) -> actors.CreateActor:
        """The message that registers the actor now, as its name may be taken; arguments follow."""
        # The head must first hear about dropped handles: that frees the names of their actors.
        self._ownership.settle()
        return actors.CreateActor(token, self._complete_spec(), get_if_exists)

    def watch(self) -> None:
        """The head knows the actor: watch what becomes of it."""
        self._send(HEAD, actors.WatchActor(self.spec.actor))
        waiting, self._client.unregistered = self._client.unregistered or (), None
        for message in waiting:
            self._send(HEAD, message)
        self._client.watchers.append(self._on_change)
        # From here on only the handles keep the actor alive.
        self.lifeline = None

    def forget(self) -> None:
        """The actor is not created after all: drop its lifeline silently."""
        entry = self._ownership.table.get(self.spec.actor)
        if entry is not None:
            entry.on_free = None

    def _register(self) -> None:
        self._send(HEAD, actors.CreateActor(0, self._complete_spec()))
        self.watch()

    def _on_change(self) -> None:
        """Keep the arguments until the actor is running, or for as long as it may be restarted."""
        over = self._client.state == actors.DEAD
        stands = self._client.state == actors.ALIVE and not self.spec.max_restarts
        if not over and not stands:
            self._client.watchers.append(self._on_change)

    def _complete_spec(self) -> actors.ActorSpec:
        deps = dependencies.described(self._ownership, self._pending.deps or ())
        return msgspec.structs.replace(self.spec, args=self._pending.args, deps=deps)

    def _make_lifeline(self) -> ObjectRef[Any]:
        actor, send = self.spec.actor, self._send
        entry = Entry()
        entry.state, entry.value = INLINE, _NOTHING
        entry.on_free = lambda: send(HEAD, actors.ActorUnreferenced(actor))
        self._ownership.add(actor, entry)
        return ObjectRef(actor, True)
