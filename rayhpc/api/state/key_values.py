"""The cluster's key-value store, for the tools of `util`: small values, kept by the head.

Used by `util.metrics`.
"""

from __future__ import annotations

from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import KvGet, KvKeys, KvPut


def publish(space: str, value: bytes) -> None:
    """Store a value under this process's own key; a no-op outside a cluster.

    Args:
        space: the namespace in the store.
        value: the new value.
    """
    client = current.existing()
    if client is not None:
        client.ask_head(KvPut(space, client.me.to_bytes(8, "big"), value), bool)


def keys(space: str) -> list[bytes]:
    """The keys in a namespace of the store, sorted."""
    return sorted(current.client().ask_head(KvKeys(space, b""), list[bytes]))


def get(space: str, key: bytes) -> bytes | None:
    """The value of a key; None: there is none."""
    found: bytes | None = current.client().ask_head(KvGet(space, key), bytes | None)
    return found
