"""SASL DIGEST-MD5 (RFC 2831): authentication, then integrity or privacy of every message.

Used by `sasl`.  A pure computation: challenge and password in, response and wrapped messages out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import struct
from collections.abc import Callable

from rayhpc.hadoop.errors import AuthenticationError
from rayhpc.hadoop.rpc.rc4 import RC4

AUTH, INTEGRITY, PRIVACY = "auth", "auth-int", "auth-conf"
_PAIR = re.compile(r'([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^,]*))')
# The overhead of MAC, type and sequence number in a wrapped message, with room to spare.
_OVERHEAD = 26
_TRAILER = b"\0\1"
_SIGN = b"Digest session key to %s signing key magic constant"
_SEAL = b"Digest H(A1) to %s sealing key magic constant"
_THERE, _BACK = b"client-to-server", b"server-to-client"


class DigestMd5:
    """One authentication, and the protection that results from it.

    Args:
        challenge: the server's first message.
        user, password: the token's identifier and password, in base64.
        uri: protocol and server id.

    Raises:
        AuthenticationError: the server requires what we do not support.
    """

    def __init__(self, challenge: bytes, user: str, password: str, uri: str) -> None:
        offer = _parse(challenge)
        self.protection = _cheapest(offer.get("qop", AUTH))
        self.most_bytes = _most_bytes(offer)
        realm, nonce, cnonce = offer.get("realm", ""), offer["nonce"], _new_nonce()
        first = _md5(f"{user}:{realm}:{password}".encode()) + f":{nonce}:{cnonce}".encode()
        secret = _md5(first)
        digest = _Digest(secret, nonce, cnonce, self.protection, uri)
        self.response = (
            f'charset=utf-8,username="{user}",realm="{realm}",nonce="{nonce}",nc=00000001,'
            f'cnonce="{cnonce}",digest-uri="{uri}",maxbuf=65536,'
            f"response={digest.of('AUTHENTICATE')},qop={self.protection}"
        ).encode()
        self._proof = f"rspauth={digest.of('')}".encode()
        self._encrypt: Callable[[bytes], bytes] = bytes
        self._decrypt: Callable[[bytes], bytes] = bytes
        if self.protection == PRIVACY:
            self._choose_cipher(offer.get("cipher", ""), secret)
        self._send_key = _md5(secret + _SIGN % _THERE)
        self._receive_key = _md5(secret + _SIGN % _BACK)
        self._sent = self._received = 0

    @property
    def wraps(self) -> bool:
        """Whether every further message has to be wrapped."""
        return self.protection != AUTH

    def check(self, answer: bytes) -> None:
        """Check the server's last message, which proves that it knows the password, too.

        Raises:
            AuthenticationError: it does not.
        """
        if not hmac.compare_digest(answer, self._proof):
            raise AuthenticationError("the server does not know our token's password")

    def wrap(self, data: bytes) -> bytes:
        """At most `most_bytes` of the stream, protected."""
        mac = _mac(self._send_key, self._sent, data)
        out = self._encrypt(data + mac) + _TRAILER + struct.pack(">I", self._sent)
        self._sent = (self._sent + 1) & 0xFFFFFFFF
        return out

    def unwrap(self, data: bytes) -> bytes:
        """Unwrap what the server has sent.

        Raises:
            AuthenticationError: it was altered, lost or repeated on the way.
        """
        if len(data) < 16:
            raise AuthenticationError("a protected message was cut off")
        body, number = self._decrypt(data[:-6]), int.from_bytes(data[-4:], "big")
        content, mac = body[:-10], body[-10:]
        genuine = hmac.compare_digest(mac, _mac(self._receive_key, number, content))
        if data[-6:-4] != _TRAILER or number != self._received or not genuine:
            raise AuthenticationError("a protected message was altered or lost on the way")
        self._received = (self._received + 1) & 0xFFFFFFFF
        return content

    def _choose_cipher(self, offered: str, secret: bytes) -> None:
        if "rc4" not in [word.strip() for word in offered.split(",")]:
            raise AuthenticationError(
                f"the server wants privacy by {offered or 'no named cipher'}, and of DIGEST-MD5's "
                "ciphers we have rc4 alone"
            )
        self.response += b',cipher="rc4"'
        self._encrypt = RC4(_md5(secret + _SEAL % _THERE)).crypt
        self._decrypt = RC4(_md5(secret + _SEAL % _BACK)).crypt


class _Digest:
    """The hash with which each side proves its knowledge."""

    def __init__(self, secret: bytes, nonce: str, cnonce: str, protection: str, uri: str) -> None:
        self._head = f"{secret.hex()}:{nonce}:00000001:{cnonce}:{protection}:"
        self._tail = uri if protection == AUTH else f"{uri}:{'0' * 32}"

    def of(self, method: str) -> str:
        second = _md5(f"{method}:{self._tail}".encode()).hex()
        return _md5(f"{self._head}{second}".encode()).hex()


def _parse(challenge: bytes) -> dict[str, str]:
    try:
        text = challenge.decode()
    except UnicodeDecodeError:
        raise AuthenticationError("the server's challenge is no text") from None
    found = {key: quoted or plain for key, quoted, plain in _PAIR.findall(text)}
    if "nonce" not in found:
        raise AuthenticationError("the server's challenge has no nonce")
    return found


def _cheapest(offered: str) -> str:
    """The server offers what it accepts: choose the one with the least work."""
    words = [word.strip() for word in offered.split(",")]
    for protection in (AUTH, INTEGRITY, PRIVACY):
        if protection in words:
            return protection
    raise AuthenticationError(f"no known protection is among what the server offers: {offered}")


def _most_bytes(offer: dict[str, str]) -> int:
    text = offer.get("maxbuf", "65536")
    if not text.isdigit() or int(text) <= 2 * _OVERHEAD:
        raise AuthenticationError(f"the server's challenge has maxbuf={text!r}")
    return int(text) - _OVERHEAD


def _new_nonce() -> str:
    return base64.b64encode(os.urandom(24)).decode()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _mac(key: bytes, number: int, data: bytes) -> bytes:
    return hmac.new(key, struct.pack(">I", number) + data, _md5_hash).digest()[:10]


def _md5_hash(data: bytes = b"") -> hashlib._Hash:
    """MD5 for hmac, even where the system allows MD5 only for non-security purposes (FIPS)."""
    return hashlib.md5(data, usedforsecurity=False)
