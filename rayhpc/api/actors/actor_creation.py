"""Making an actor: registering it with the head, and what must stay alive until it stands.

Used by `actor_class`.  The actor's lifeline is an object of ours whose id is the actor's; when
nobody refers to it any more, the head is told.  What depends on arguments that are not there yet
is sent later, by the leading thread.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.api.actors.actor_handle import ActorHandle, from_spec
from rayhpc.exceptions import ActorAlreadyExistsError
from rayhpc.runtime.owner import dependencies
from rayhpc.runtime.owner.calls import ActorClient
from rayhpc.runtime.owner.entries import INLINE, Entry
from rayhpc.runtime.owner.pending import Pending
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.values import serialization
from rayhpc.runtime.values.references import ObjectRef
from rayhpc.wire.address import HEAD
from rayhpc.wire.messages import actors

_NOTHING = serialization.to_inline(serialization.serialize(None))


def create(
    process: Process, spec: actors.ActorSpec, pending: Pending, get_if_exists: bool
) -> ActorHandle[Any]:
    """Register an actor; its handle.

    Args:
        process: this process.
        spec: the actor, its constructor's arguments excepted.
        pending: the constructor's arguments.
        get_if_exists: take the actor of that name if there is one.

    Raises:
        ActorAlreadyExistsError: the name is taken (a ValueError).
    """
    creation = _Creation(process, spec, pending)
    if spec.name:
        return creation.send_named(get_if_exists)
    handle = creation.handle()
    with process.lead():
        creation.send_when_ready()
    return handle


class _Creation:
    """One actor on its way; kept alive by what waits for it, and keeping its arguments alive."""

    def __init__(self, process: Process, spec: actors.ActorSpec, pending: Pending) -> None:
        self.process = process
        self.spec = spec
        self.pending = pending
        self.client: ActorClient = process.callers.client_of(spec.actor)
        self.lifeline = None if spec.detached else _make_lifeline(process, spec.actor)
        # The head must know the actor before it is asked about it.
        self.client.watched = True
        self.client.unregistered = []

    def handle(self) -> ActorHandle[Any]:
        """A handle that keeps the actor alive (unless it is detached)."""
        return ActorHandle(self.spec.actor, self.spec.methods, self.lifeline)

    def send_when_ready(self) -> None:
        """Register the actor once its arguments are there (leading thread)."""
        if self.pending.deps:
            dependencies.when_ready(self.process.ownership, self.pending, lambda _: self._send())
        else:
            self._send()

    def send_named(self, get_if_exists: bool) -> ActorHandle[Any]:
        """Register the actor now, since its name may be taken; arguments may come later."""
        process = self.process
        with process.lead():
            # The head hears first of handles that have gone: it frees the names of their actors.
            process.ownership.settle()
        token = process.new_token()
        handle = self.handle()
        question = actors.CreateActor(token, self._complete_spec(), get_if_exists)
        answer: actors.ActorCreated = process.exchange(HEAD, question, token)
        if answer.error or answer.existing is not None:
            self._forget()
        if answer.error:
            raise ActorAlreadyExistsError(answer.error)
        if answer.existing is not None:
            return from_spec(answer.existing)
        with process.lead():
            self._watch()
        return handle

    def _send(self) -> None:
        send = self.process.transport.send
        send(HEAD, actors.CreateActor(0, self._complete_spec()))
        self._watch()

    def _watch(self) -> None:
        send = self.process.transport.send
        send(HEAD, actors.WatchActor(self.spec.actor))
        waiting, self.client.unregistered = self.client.unregistered or (), None
        for message in waiting:
            send(HEAD, message)
        self.client.watchers.append(self._on_change)
        # From here on the handles alone keep the actor alive.
        self.lifeline = None

    def _on_change(self) -> None:
        """Keep the arguments until the actor stands, or for as long as it may start again."""
        over = self.client.state == actors.DEAD
        stands = self.client.state == actors.ALIVE and not self.spec.max_restarts
        if not over and not stands:
            self.client.watchers.append(self._on_change)

    def _complete_spec(self) -> actors.ActorSpec:
        deps = dependencies.described(self.process.ownership, self.pending.deps or ())
        return msgspec.structs.replace(self.spec, args=self.pending.args, deps=deps)

    def _forget(self) -> None:
        """The actor is not made after all: its lifeline goes without a word."""
        entry = self.process.ownership.table.get(self.spec.actor)
        if entry is not None:
            entry.on_free = None


def _make_lifeline(process: Process, actor: bytes) -> ObjectRef[Any]:
    entry = Entry()
    entry.state, entry.value = INLINE, _NOTHING
    entry.on_free = lambda: process.transport.send(HEAD, actors.ActorUnreferenced(actor))
    process.ownership.table[actor] = entry
    return ObjectRef(actor, True)
