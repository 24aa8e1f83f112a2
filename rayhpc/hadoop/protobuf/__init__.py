"""A small declarative codec for protobuf (proto2): only what Hadoop's messages need.

Used by `rayhpc.hadoop.messages`, which declares the messages.  No maps, groups or extensions.
"""

from __future__ import annotations

from rayhpc.hadoop.protobuf.base import Message, delimited, read_delimited
from rayhpc.hadoop.protobuf.errors import CodecError
from rayhpc.hadoop.protobuf.fields import (
    boolean,
    bytestring,
    enumeration,
    float32,
    int32,
    int64,
    message,
    sint32,
    string,
    uint32,
    uint64,
)

__all__ = [
    "CodecError",
    "Message",
    "boolean",
    "bytestring",
    "delimited",
    "enumeration",
    "float32",
    "int32",
    "int64",
    "message",
    "read_delimited",
    "sint32",
    "string",
    "uint32",
    "uint64",
]
