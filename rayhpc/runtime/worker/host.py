"""What an actor's methods and lanes need from it (`actor.ActorHost`)."""

from __future__ import annotations

from typing import Any, Protocol

from rayhpc.runtime.worker.actor_calls import Item
from rayhpc.runtime.worker.execution import Outcome
from rayhpc.wire.address import Address, ObjectId
from rayhpc.wire.messages.actors import ActorSpec
from rayhpc.wire.messages.tasks import Call


class Host(Protocol):
    """The one actor of a worker."""

    @property
    def spec(self) -> ActorSpec:
        """What the actor is."""

    @property
    def instance(self) -> Any:
        """The user's object; None until it is constructed."""

    def run(self, item: Item) -> Outcome | None:
        """Run a call in the calling thread; None: the actor exits with it."""

    async def run_async(self, item: Item) -> Outcome | None:
        """Run a call in an event loop; None: the actor exits with it."""

    def interrupted(self, call: Call, error: BaseException) -> Outcome:
        """The outcome of a call that was cancelled while it ran."""

    def hold_back(self, item: Item) -> bool:
        """Whether a call must not start yet; it comes again when it may (any thread)."""

    def end_call(self, caller: Address, tid: ObjectId, outcome: Outcome | None) -> None:
        """A concurrent call has ended, with something to reply or nothing (any thread)."""

    def terminate(self) -> None:
        """Exit gracefully."""
