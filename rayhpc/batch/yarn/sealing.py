"""A secret in a text that others may read: sealed with a secret that both sides already have.

Used for the record with which a container is taken over (`link`, `master.starter`): YARN then
passes on an environment, but no other credentials.

Encrypt, then authenticate: the stream is SHAKE-256 of the key and a nonce that is never reused, the
tag HMAC-SHA-256 of nonce and ciphertext.  The standard library has no cipher, and this one needs no
package.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

_NONCE, _TAG = 32, 32


def seal(secret: bytes, shared: bytes) -> str:
    """`secret` as a text that only holders of `shared` can read or create."""
    nonce = os.urandom(_NONCE)
    body = nonce + _mix(secret, shared, nonce)
    return base64.urlsafe_b64encode(body + _tag(body, shared)).decode()


def unseal(text: str, shared: bytes) -> bytes:
    """What was sealed.  Raises ValueError if it was not sealed with `shared`."""
    try:
        data = base64.urlsafe_b64decode(text)
    except binascii.Error:
        raise ValueError("this is no sealed text") from None
    # The decoder skips what is no Base64, and ignores the last character's spare bits.
    if base64.urlsafe_b64encode(data).decode() != text:
        raise ValueError("the text was changed since it was sealed")
    body, tag = data[:-_TAG], data[-_TAG:]
    if len(body) < _NONCE or not shared or not hmac.compare_digest(tag, _tag(body, shared)):
        raise ValueError("the text was sealed with another secret, or changed")
    return _mix(body[_NONCE:], shared, body[:_NONCE])


def _mix(data: bytes, shared: bytes, nonce: bytes) -> bytes:
    stream = hashlib.shake_256(b"rayhpc stream" + _fixed(shared) + nonce).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _tag(body: bytes, shared: bytes) -> bytes:
    return hmac.digest(b"rayhpc tag" + _fixed(shared), body, "sha256")


def _fixed(shared: bytes) -> bytes:
    """A key of fixed length, so that no key and nonce can be read as another pair."""
    return hashlib.sha256(shared).digest()
