"""Records: bytes sealed with AES-128-GCM under the key of one direction of one connection.

Used by `listening`, `sending` and `receiving`.  The nonce is a counter that both ends keep, so a
record that is changed, left out, sent twice or out of order cannot be opened.  A key is used for
one connection only, and for no more than KEY_BYTES_MAX: the sender then ends the connection.

Sealing and opening need the package `cryptography`, which is imported here when first needed (it
takes some 40 ms and 6 MiB), in whatever thread asks.  They leave the interpreter's lock to others.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

KEY_BYTES = 16
TAG_BYTES = 16
# What is sealed at a time: it stays in the cache between sealing and sending.
PIECE_BYTES = 256 * 1024
# 2^32 blocks: far below what AES-GCM may be used for with one key.
KEY_BYTES_MAX = 2**36

_MODULE = "cryptography.hazmat.primitives.ciphers.aead"


class SealError(Exception):
    """A record is not what its sender sealed."""


def problem() -> str:
    """Why nothing can be sealed here; empty: it can."""
    try:
        aead = importlib.import_module(_MODULE)
    except ImportError as error:
        return f"the package cryptography cannot be used ({error})"
    if not hasattr(aead.AESGCM, "encrypt_into"):
        return "the package cryptography is older than 47"
    return ""


def new_key() -> bytes:
    """A fresh key."""
    return os.urandom(KEY_BYTES)


class Sealer:
    """Makes the records of one direction."""

    def __init__(self, key: bytes) -> None:
        self._cipher: Any = importlib.import_module(_MODULE).AESGCM(key)
        self._count = 0

    def seal(self, plain: Any, into: memoryview, also: bytes = b"") -> None:
        """Write a record.

        Args:
            plain: its bytes.
            into: gets them, TAG_BYTES longer.
            also: what is not sent with it and must be the same at the other end.
        """
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        self._cipher.encrypt_into(nonce, plain, also, into)


class Opener:
    """Opens the records of one direction."""

    def __init__(self, key: bytes) -> None:
        aead = importlib.import_module(_MODULE)
        self._invalid: Any = importlib.import_module("cryptography.exceptions").InvalidTag
        self._cipher: Any = aead.AESGCM(key)
        self._count = 0

    def open(self, record: Any, into: memoryview, also: bytes = b"") -> None:
        """Read a record (the arguments are those of `Sealer.seal`).

        Raises:
            SealError: it is not the one that was sealed as this direction's next.  What is in
                `into` then means nothing.
        """
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        try:
            self._cipher.decrypt_into(nonce, record, also, into)
        except self._invalid:
            raise SealError("what came is not what was sealed") from None
