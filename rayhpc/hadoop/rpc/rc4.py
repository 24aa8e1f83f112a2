"""RC4: the only one of DIGEST-MD5's ciphers simple enough to include; Hadoop's servers offer it.

Used by `digest_md5` if a cluster requires privacy.  Weak by today's standards, but it is what the
protocol has.
"""

from __future__ import annotations


class RC4:
    """One direction of a conversation; the state carries over from message to message."""

    def __init__(self, key: bytes) -> None:
        state, j = list(range(256)), 0
        for i in range(256):
            j = (j + state[i] + key[i % len(key)]) & 255
            state[i], state[j] = state[j], state[i]
        self._state, self._i, self._j = state, 0, 0

    def crypt(self, data: bytes) -> bytes:
        """Encrypt or decrypt what comes next."""
        state, i, j, out = self._state, self._i, self._j, bytearray(data)
        for position, byte in enumerate(data):
            i = (i + 1) & 255
            x = state[i]
            j = (j + x) & 255
            y = state[j]
            state[i], state[j] = y, x
            out[position] = byte ^ state[(x + y) & 255]
        self._i, self._j = i, j
        return bytes(out)
