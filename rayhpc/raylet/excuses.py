"""The answer to a requester when handling its message has failed inside the raylet.

Used by `main`, so that nobody waits for an answer that never comes.  Pure functions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rayhpc.wire.address import HEAD, Address
from rayhpc.wire.messages import actors, cluster, leases, objects

_TEXT = "Error inside the raylet: {error}. This is a bug in rayhpc; the node's log has more."


def excuse(
    source: Address, message: Any, error: Exception
) -> tuple[Address, msgspec.Struct] | None:
    """Whom to answer, and what; None: nobody waits for an answer to such a message."""
    text = _TEXT.format(error=f"{type(error).__name__}: {error}")
    match message:
        case cluster.Request():
            return source, cluster.Reply(message.token, error=text)
        case leases.LeaseRequest():
            refused = leases.LeaseRefused(message.request, leases.UNSCHEDULABLE, text)
            return message.client, refused
        case objects.StoreCreate():
            return source, objects.StoreCreated(message.oid, -1, text)
        case actors.StartActor():
            spec = message.spec
            return HEAD, actors.ActorStarted(
                spec.actor, message.incarnation, "environment", reason=text
            )
        case actors.PrepareBundles():
            return HEAD, actors.BundlesPrepared(message.group, message.attempt, False)
    return None
