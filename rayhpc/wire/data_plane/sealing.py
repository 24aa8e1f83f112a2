"""Records: bytes sealed with AES-128-GCM under the key of one direction of one connection.

Used by the data plane, and by direct links (`wire.sealed_streams`).  The nonce is a counter that
both ends keep, so a record that is changed, left out, repeated or out of order cannot be opened.  A
key is used for one connection only, and for no more than KEY_BYTES_MAX: the sender then ends the
connection.

Sealing and opening need the package `cryptography`, which is imported here on first use (about
40 ms and 6 MiB), in whichever thread needs it.  Both release the GIL.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

KEY_BYTES = 16
TAG_BYTES = 16
# The size of a record: small enough to stay in the cache between sealing and sending.
PIECE_BYTES = 512 * 1024
# 2^32 blocks: far below AES-GCM's limit for one key.
KEY_BYTES_MAX = 2**36

_MODULE = "cryptography.hazmat.primitives.ciphers.aead"


class SealError(Exception):
    """A record is not what its sender sealed."""


def problem() -> str:
    """Why records cannot be sealed here; empty: they can."""
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
            into: where the sealed record goes, TAG_BYTES longer.
            also: associated data: not sent, but must be the same at the other end.
        """
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        self._cipher.encrypt_into(nonce, plain, also, into)

    def sealed(self, plain: bytes, also: bytes = b"") -> bytes:
        """A record (the arguments are those of `seal`)."""
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        return bytes(self._cipher.encrypt(nonce, plain, also))


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
            SealError: it is not the next record that was sealed in this direction.  The contents
                of `into` are then meaningless.
        """
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        try:
            self._cipher.decrypt_into(nonce, record, also, into)
        except self._invalid:
            raise SealError("what came is not what was sealed") from None

    def opened(self, record: Any, also: bytes = b"") -> bytes:
        """The bytes of a record.

        Args:
            record: the next one, as it came.
            also: associated data, the same as at the other end.

        Raises:
            SealError: it is not the next record that was sealed in this direction.
        """
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        try:
            return self._cipher.decrypt(nonce, record, also)  # type: ignore[no-any-return]
        except (self._invalid, ValueError):
            raise SealError("what came is not what was sealed") from None
