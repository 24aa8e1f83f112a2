"""Ray's key-value store for programs and libraries: small values, kept by the head.

Used by programs (`ray.experimental.internal_kv`).  Names and results are those of Ray, underscores
included.  A namespace of this store is none of rayhpc's own.
"""

from __future__ import annotations

from rayhpc.api.session.session import is_initialized
from rayhpc.api.state import key_values

Text = str | bytes


def _internal_kv_initialized() -> bool:
    """Whether this process has joined a cluster."""
    return is_initialized()


def _internal_kv_get(key: Text, *, namespace: Text | None = None) -> bytes | None:
    """The value of a key; None: there is none."""
    return key_values.get(_space(namespace), _bytes(key))


def _internal_kv_exists(key: Text, *, namespace: Text | None = None) -> bool:
    """Whether a key has a value."""
    return _internal_kv_get(key, namespace=namespace) is not None


def _internal_kv_put(
    key: Text, value: Text, overwrite: bool = True, *, namespace: Text | None = None
) -> bool:
    """Store a value.

    Args:
        key: its key.
        value: the value.
        overwrite: whether it replaces one that is there.
        namespace: keys of one namespace are apart from those of others.

    Returns:
        Whether the key had a value before.
    """
    return not key_values.put(_space(namespace), _bytes(key), _bytes(value), overwrite)


def _internal_kv_del(
    key: Text, *, del_by_prefix: bool = False, namespace: Text | None = None
) -> int:
    """Remove a key, or all that begin with it; how many there were."""
    return key_values.delete(_space(namespace), _bytes(key), del_by_prefix)


def _internal_kv_list(prefix: Text, *, namespace: Text | None = None) -> list[bytes]:
    """The keys that begin with a prefix, sorted."""
    return key_values.keys(_space(namespace), _bytes(prefix))


def _space(namespace: Text | None) -> str:
    return "internal_kv/" + _bytes(namespace or "").decode("latin-1")


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
