"""What whoever asked is answered when handling his message has failed inside the head.

Used by `main`: nobody is to wait for an answer that never comes.  Pure functions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.wire.address import HEAD
from rayhpc.wire.messages import actors, cluster

_TEXT = "An error inside the head: {error}. This is a fault of rayhpc; the head's log has more."


def excuse(message: Any, error: Exception) -> msgspec.Struct | None:
    """What to answer; None: nobody waits for an answer to such a message."""
    text = _TEXT.format(error=f"{type(error).__name__}: {error}")
    match message:
        case cluster.RegisterNode():
            return cluster.RegistrationRefused(text)
        case cluster.Request():
            return cluster.Reply(message.token, error=text)
        case actors.CreateActor(token=0):  # who makes it waits for word of the actor itself
            return actors.ActorIs(message.spec.actor, actors.DEAD, HEAD, 0, text)
        case actors.CreateActor():
            return actors.ActorCreated(message.token, message.spec.actor, error=text)
        case actors.WatchActor():
            return actors.ActorIs(message.actor, actors.DEAD, HEAD, 0, text)
        case actors.CreateGroup() | actors.WatchGroup():
            return actors.GroupIs(message.group, actors.GROUP_REMOVED, text=text)
    return None
