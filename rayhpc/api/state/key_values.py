"""The cluster's key-value store, for the tools of `util`: small values, kept by the head.

Used by `util.metrics`.
"""

from __future__ import annotations

from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import KvGet, KvKeys, KvPut


def publish(space: str, value: bytes) -> None:
    """Store a value under this process's own key; nothing happens outside a cluster.

    Args:
        space: the part of the store.
        value: what the key stands for from now on.
    """
    client = current.existing()
    if client is not None:
        client.ask_head(KvPut(space, client.me.to_bytes(8, "big"), value), bool)


def keys(space: str) -> list[bytes]:
    """The keys of a part of the store, sorted."""
    return sorted(current.client().ask_head(KvKeys(space, b""), list[bytes]))


def get(space: str, key: bytes) -> bytes | None:
    """What a key stands for; None: there is none."""
    found: bytes | None = current.client().ask_head(KvGet(space, key), bytes | None)
    return found
