"""The cluster's key-value store, for tools and programs: small values, kept by the head.

Used by `util.metrics` and `experimental.internal_kv`.
"""

from __future__ import annotations

from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import KvDelete, KvGet, KvKeys, KvPut


def publish(space: str, value: bytes) -> None:
    """Store a value under this process's own key; a no-op outside a cluster.

    Args:
        space: the namespace in the store.
        value: the new value.
    """
    client = current.existing()
    if client is not None:
        client.ask_head(KvPut(space, client.me.to_bytes(8, "big"), value), bool)


def put(space: str, key: bytes, value: bytes, overwrite: bool = True) -> bool:
    """Store a value, if the key is new or `overwrite`; whether the key was new."""
    is_new: bool = current.client().ask_head(KvPut(space, key, value, overwrite), bool)
    return is_new


def delete(space: str, key: bytes, prefix: bool = False) -> int:
    """Remove a key, or with `prefix` all keys that begin with it; how many there were."""
    count: int = current.client().ask_head(KvDelete(space, key, prefix), int)
    return count


def keys(space: str, prefix: bytes = b"") -> list[bytes]:
    """The keys in a namespace of the store that begin with `prefix`, sorted."""
    return sorted(current.client().ask_head(KvKeys(space, prefix), list[bytes]))


def get(space: str, key: bytes) -> bytes | None:
    """The value of a key; None: there is none."""
    found: bytes | None = current.client().ask_head(KvGet(space, key), bytes | None)
    return found
