"""The answer to a requester when handling its message has failed inside the head.

Used by `main`, so that nobody waits for an answer that never comes.  Pure functions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.wire.address import HEAD
from rayhpc.wire.messages import actors, cluster

_TEXT = "Error inside the head: {error}. This is a bug in rayhpc; the head's log has more."


def excuse(message: Any, error: Exception) -> msgspec.Struct | None:
    """The answer to send; None: nobody waits for an answer to such a message."""
    text = _TEXT.format(error=f"{type(error).__name__}: {error}")
    match message:
        case cluster.RegisterNode() | cluster.RejoinNode():
            return cluster.RegistrationRefused(text)
        case cluster.Request():
            return cluster.Reply(message.token, error=text)
        case actors.CreateActor(token=0):  # its creator waits for news of the actor itself
            return actors.ActorIs(message.spec.actor, actors.DEAD, HEAD, 0, text)
        case actors.CreateActor():
            return actors.ActorCreated(message.token, message.spec.actor, error=text)
        case actors.WatchActor():
            return actors.ActorIs(message.actor, actors.DEAD, HEAD, 0, text)
        case actors.CreateGroup() | actors.WatchGroup():
            return actors.GroupIs(message.group, actors.GROUP_REMOVED, text=text)
    return None
