"""Tokens as they are sent, and the files that contain them.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from rayhpc.hadoop.protobuf import Message, bytestring, message, string


class TokenProto(Message):
    identifier: bytes = bytestring(1, required=True)
    password: bytes = bytestring(2, required=True)
    kind: str = string(3, required=True)
    service: str = string(4, required=True)


class CredentialsKVProto(Message):
    alias: str = string(1, required=True)
    token: TokenProto | None = message(2, TokenProto)
    secret: bytes = bytestring(3)


class CredentialsProto(Message):
    tokens: list[CredentialsKVProto] = message(1, CredentialsKVProto, repeated=True)
    secrets: list[CredentialsKVProto] = message(2, CredentialsKVProto, repeated=True)


class GetDelegationTokenRequestProto(Message):
    renewer: str = string(1, required=True)


class GetDelegationTokenResponseProto(Message):
    token: TokenProto | None = message(1, TokenProto)
