"""How two processes come to the keys of one connection: X25519, then HKDF with SHA-256.

Used by `direct_sockets`.  Each end makes a secret for that one connection, and gets the public half
of the other's over the control plane, under CURVE: whoever has neither secret cannot have the keys,
not even the raylets that passed the public halves on.

Needs the package `cryptography` (see `sealing`), which is imported here on first use.
"""

from __future__ import annotations

import errno
import hmac
import importlib
from typing import Any

from rayhpc.wire.data_plane.sealing import KEY_BYTES

PUBLIC_BYTES = 32
_PURPOSE = b"rayhpc direct link 1"
_MODULE = "cryptography.hazmat.primitives.asymmetric.x25519"


class Secret:
    """One end's secret, for one connection.

    Attributes:
        public: what the other end is told.

    Raises:
        OSError: X25519 cannot be used here.
    """

    def __init__(self) -> None:
        unsupported: Any = importlib.import_module("cryptography.exceptions").UnsupportedAlgorithm
        try:
            self._key: Any = importlib.import_module(_MODULE).X25519PrivateKey.generate()
        except unsupported as error:  # OpenSSL in its FIPS mode
            raise OSError(errno.ENOSYS, f"X25519 cannot be used here ({error})") from None
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def agree(self, other: bytes, is_dialler: bool) -> tuple[bytes, bytes]:
        """The keys of both directions: from the one who dials, and to it.

        Args:
            other: the other end's public half.
            is_dialler: whether this end dials.

        Raises:
            ValueError: that is no public half.
        """
        theirs = importlib.import_module(_MODULE).X25519PublicKey.from_public_bytes(other)
        shared = self._key.exchange(theirs)
        salt = self.public + other if is_dialler else other + self.public
        extracted = hmac.digest(salt, shared, "sha256")
        keys = hmac.digest(extracted, _PURPOSE + b"\x01", "sha256")
        return keys[:KEY_BYTES], keys[KEY_BYTES : 2 * KEY_BYTES]
