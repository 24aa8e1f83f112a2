"""What a caller keeps of actors."""

from __future__ import annotations

import pytest

from rayhpc.runtime.owner import calls
from rayhpc.runtime.owner.calls import Callers
from rayhpc.runtime.owner.entries import INLINE, Entry
from rayhpc.wire.address import make_object_id
from rayhpc.wire.messages import actors
from tests.runtime.fakes import ME, Side

KEPT = 10


def dies(callers: Callers, number: int, reason: str = "it was killed") -> bytes:
    """An actor that this process has called is dead."""
    actor = make_object_id(ME, number)
    callers.watch(callers.client_of(actor))
    callers.on_actor_is(actors.ActorIs(actor, actors.DEAD, 0, 0, reason))
    return actor


def test_dead_actors_without_handles_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "DEAD_KEPT", KEPT)
    side = Side()
    callers = Callers(ME, side.ownership, side.results, side._send, lambda _: True, lambda: 0.0)
    held = make_object_id(ME, 1)
    side.ownership.table[held] = Entry(None, INLINE, b"")  # its lifeline: a handle is here
    living = callers.client_of(make_object_id(ME, 1000))
    callers.watch(living)
    gone = [dies(callers, number) for number in range(1, 101)]
    assert len(callers._clients) == KEPT + 1
    assert callers.client_of(living.actor) is living
    # What is still referred to, and the latest, are known without the head.
    assert [callers.client_of(x).state for x in (held, gone[-1])] == [actors.DEAD] * 2
    # The others are asked for again.
    again = callers.client_of(gone[1])
    assert (again.state, again.watched) == ("UNKNOWN", False)
