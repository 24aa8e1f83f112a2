"""Tokens, and the files that carry them: our identity towards Hadoop's services.

A container finds its tokens and secrets in the file `$HADOOP_TOKEN_FILE_LOCATION`.  There are two
formats: 0, of Java's "Writable" objects, which YARN itself writes, and 1, of protobuf messages;
both can be read, 0 is written.  Nothing here shows an identifier, a password or a secret.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field

from rayhpc.hadoop.messages.security import CredentialsProto, TokenProto
from rayhpc.hadoop.protobuf import CodecError, read_delimited
from rayhpc.hadoop.writable import read_blob, read_vint, write_blob, write_vint

AMRM_KIND = "YARN_AM_RM_TOKEN"
RM_KIND = "RM_DELEGATION_TOKEN"
HDFS_KIND = "HDFS_DELEGATION_TOKEN"
_MAGIC = b"HDTS"


@dataclass(frozen=True)
class Token:
    """Proves our identity to a service.

    `identifier` and `password` serve as SASL user name and password; `service` is the address it is
    valid for, `ip:port`, if a server has to find or renew the token.
    """

    identifier: bytes = field(repr=False)
    password: bytes = field(repr=False)
    kind: str
    service: str = ""

    @classmethod
    def of(cls, message: TokenProto) -> Token:
        """From the message that services send."""
        return cls(message.identifier, message.password, message.kind, message.service)

    @classmethod
    def from_text(cls, text: str) -> Token:
        """From the URL-safe text of REST answers.  Raises ValueError for any other text."""
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except binascii.Error:
            raise ValueError("the text of a token is not base64") from None
        return _read_token(data, 0)[0]

    def to_text(self) -> str:
        """The URL-safe text that REST requests take."""
        return base64.urlsafe_b64encode(_write_token(self)).decode().rstrip("=")


@dataclass
class Credentials:
    """Tokens and secrets by name; a container is given one such collection."""

    tokens: dict[str, Token] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Credentials:
        """From a token file.  Raises OSError, and ValueError for a file of another kind."""
        with open(path, "rb") as file:
            return cls.decode(file.read())

    @classmethod
    def decode(cls, data: bytes) -> Credentials:
        """From the bytes of a token file.  Raises ValueError if they are not one."""
        if data[:4] != _MAGIC or len(data) < 5:
            raise ValueError("this is not a Hadoop token file")
        try:
            if data[4] == 0:
                return cls._decode_writables(data)
            if data[4] == 1:
                return cls._decode_messages(data)
        except (CodecError, UnicodeDecodeError) as error:
            raise ValueError(f"a damaged token file: {error}") from None
        raise ValueError(f"token files of format {data[4]} are not supported")

    @classmethod
    def _decode_writables(cls, data: bytes) -> Credentials:
        found = cls()
        count, at = read_vint(data, 5)
        for _ in range(count):
            alias, at = read_blob(data, at)
            found.tokens[alias.decode()], at = _read_token(data, at)
        count, at = read_vint(data, at)
        for _ in range(count):
            alias, at = read_blob(data, at)
            found.secrets[alias.decode()], at = read_blob(data, at)
        return found

    @classmethod
    def _decode_messages(cls, data: bytes) -> Credentials:
        message, _ = read_delimited(CredentialsProto, data, 5)
        tokens = {each.alias: Token.of(each.token) for each in message.tokens if each.token}
        return cls(tokens, {each.alias: each.secret for each in message.secrets})

    def encode(self) -> bytes:
        """The bytes of a token file; a container's launch context takes the same."""
        out = [_MAGIC, b"\0", write_vint(len(self.tokens))]
        for alias, token in self.tokens.items():
            out += [write_blob(alias.encode()), _write_token(token)]
        out.append(write_vint(len(self.secrets)))
        for alias, secret in self.secrets.items():
            out += [write_blob(alias.encode()), write_blob(secret)]
        return b"".join(out)

    def of_kind(self, kind: str) -> Token | None:
        """The first token of a kind; None if there is none."""
        return next((token for token in self.tokens.values() if token.kind == kind), None)

    def without(self, kind: str) -> Credentials:
        """A copy without the tokens of a kind."""
        kept = {alias: token for alias, token in self.tokens.items() if token.kind != kind}
        return Credentials(kept, dict(self.secrets))


def _read_token(data: bytes, at: int) -> tuple[Token, int]:
    parts = []
    for _ in range(4):
        part, at = read_blob(data, at)
        parts.append(part)
    return Token(parts[0], parts[1], parts[2].decode(), parts[3].decode()), at


def _write_token(token: Token) -> bytes:
    parts = token.identifier, token.password, token.kind.encode(), token.service.encode()
    return b"".join(map(write_blob, parts))
