"""The cluster's key-value store: exported functions, and entries of users and libraries.

Used by `questions`.  Keys belong to namespaces ("spaces"); values are opaque bytes.
"""

from __future__ import annotations

import msgspec

from rayhpc.head.ledger import Ledger, encode
from rayhpc.wire.address import Address

Waiter = tuple[Address, int]


class Kv:
    """All spaces, and who waits for which key (a waiter is a process and its token).

    Args:
        ledger: keeps it all.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._spaces: dict[str, dict[bytes, bytes]] = {}
        self._waiters: dict[tuple[str, bytes], list[Waiter]] = {}
        for place, value in ledger.rows("kv"):
            space, key = _decode_place(place)
            self._spaces.setdefault(space, {})[key] = value
        for row, _ in ledger.rows("kv_waiters"):
            space, key, address, token = _decode_waiter(row)
            self._waiters.setdefault((space, key), []).append((address, token))

    def put(
        self, space: str, key: bytes, value: bytes, overwrite: bool = True
    ) -> tuple[bool, list[Waiter]]:
        """Store a value; returns whether the key was new, and who was waiting for it."""
        values = self._spaces.setdefault(space, {})
        is_new = key not in values
        if is_new or overwrite:
            values[key] = value
            self._ledger.put("kv", encode((space, key)), value)
        served = self._waiters.pop((space, key), [])
        self._drop_waiters((space, key), served)
        return is_new, served

    def get(self, space: str, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._spaces.get(space, {}).get(key)

    def wait(self, space: str, key: bytes, waiter: Waiter) -> None:
        """Register `waiter` to be told when the key appears."""
        self._waiters.setdefault((space, key), []).append(waiter)
        self._ledger.put("kv_waiters", encode((space, key, *waiter)), b"")

    def delete(self, space: str, key: bytes, prefix: bool = False) -> int:
        """Remove a key, or with `prefix` all keys that start with it; returns how many."""
        values = self._spaces.get(space, {})
        gone = self.keys(space, key) if prefix else [key] if key in values else []
        for name in gone:
            del values[name]
            self._ledger.drop("kv", encode((space, name)))
        return len(gone)

    def keys(self, space: str, prefix: bytes) -> list[bytes]:
        """The keys that start with `prefix`, in order of insertion."""
        return [key for key in self._spaces.get(space, {}) if key.startswith(prefix)]

    def processes_gone(self, shift: int, gone: int) -> None:
        """Drop the waiters whose address shifted right by `shift` bits equals `gone`.

        0 selects one process, 32 every process of a node.
        """
        for place in list(self._waiters):
            there = self._waiters[place]
            left = [x for x in there if x[0] >> shift != gone]
            self._drop_waiters(place, [x for x in there if x[0] >> shift == gone])
            if left:
                self._waiters[place] = left
            else:
                del self._waiters[place]

    def _drop_waiters(self, place: tuple[str, bytes], waiters: list[Waiter]) -> None:
        for waiter in waiters:
            self._ledger.drop("kv_waiters", encode((*place, *waiter)))


_decode_place = msgspec.msgpack.Decoder(tuple[str, bytes]).decode
_decode_waiter = msgspec.msgpack.Decoder(tuple[str, bytes, int, int]).decode
