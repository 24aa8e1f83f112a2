"""The cluster's key-value store: exported functions, and entries of users and libraries.

Used by `questions`.  Keys belong to namespaces ("spaces"); values are opaque bytes.
"""

from __future__ import annotations

from rayhpc.wire.address import Address

Waiter = tuple[Address, int]


class Kv:
    """All spaces, and who waits for which key (a waiter is a process and its token)."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[bytes, bytes]] = {}
        self._waiters: dict[tuple[str, bytes], list[Waiter]] = {}

    def put(
        self, space: str, key: bytes, value: bytes, overwrite: bool = True
    ) -> tuple[bool, list[Waiter]]:
        """Store a value; returns whether the key was new, and who was waiting for it."""
        values = self._spaces.setdefault(space, {})
        is_new = key not in values
        if is_new or overwrite:
            values[key] = value
        return is_new, self._waiters.pop((space, key), [])

    def get(self, space: str, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._spaces.get(space, {}).get(key)

    def wait(self, space: str, key: bytes, waiter: Waiter) -> None:
        """Register `waiter` to be told when the key appears."""
        self._waiters.setdefault((space, key), []).append(waiter)

    def delete(self, space: str, key: bytes, prefix: bool = False) -> int:
        """Remove a key, or with `prefix` all keys that start with it; returns how many."""
        values = self._spaces.get(space, {})
        gone = self.keys(space, key) if prefix else [key] if key in values else []
        for name in gone:
            del values[name]
        return len(gone)

    def keys(self, space: str, prefix: bytes) -> list[bytes]:
        """The keys that start with `prefix`, in order of insertion."""
        return [key for key in self._spaces.get(space, {}) if key.startswith(prefix)]

    def processes_gone(self, shift: int, gone: int) -> None:
        """Drop the waiters whose address shifted right by `shift` bits equals `gone`.

        0 selects one process, 32 every process of a node.
        """
        for place in list(self._waiters):
            left = [x for x in self._waiters[place] if x[0] >> shift != gone]
            if left:
                self._waiters[place] = left
            else:
                del self._waiters[place]
