"""The frames of RPC itself: headers, authentication, connection context.

The same from Hadoop 3.3.6 to 3.5.0: `tests/hadoop/test_messages.py` compares them with the jars.
"""

from __future__ import annotations

from enum import IntEnum

from rayhpc.hadoop.protobuf import (
    Message,
    bytestring,
    enumeration,
    int64,
    message,
    sint32,
    string,
    uint32,
    uint64,
)


class RpcKindProto(IntEnum):
    RPC_BUILTIN = 0
    RPC_WRITABLE = 1
    RPC_PROTOCOL_BUFFER = 2


class OperationProto(IntEnum):
    RPC_FINAL_PACKET = 0
    RPC_CONTINUATION_PACKET = 1
    RPC_CLOSE_CONNECTION = 2


class RpcRequestHeaderProto(Message):
    rpcKind: RpcKindProto = enumeration(1, RpcKindProto)
    rpcOp: OperationProto = enumeration(2, OperationProto)
    callId: int = sint32(3, required=True)
    clientId: bytes = bytestring(4, required=True)
    retryCount: int = sint32(5, -1)
    stateId: int = int64(8)
    routerFederatedState: bytes = bytestring(9)


class RpcStatusProto(IntEnum):
    SUCCESS = 0
    ERROR = 1
    FATAL = 2


class RpcErrorCodeProto(IntEnum):
    ERROR_APPLICATION = 1
    ERROR_NO_SUCH_METHOD = 2
    ERROR_NO_SUCH_PROTOCOL = 3
    ERROR_RPC_SERVER = 4
    ERROR_SERIALIZING_RESPONSE = 5
    ERROR_RPC_VERSION_MISMATCH = 6
    FATAL_UNKNOWN = 10
    FATAL_UNSUPPORTED_SERIALIZATION = 11
    FATAL_INVALID_RPC_HEADER = 12
    FATAL_DESERIALIZING_REQUEST = 13
    FATAL_VERSION_MISMATCH = 14
    FATAL_UNAUTHORIZED = 15


class RpcResponseHeaderProto(Message):
    callId: int = uint32(1, required=True)
    status: RpcStatusProto = enumeration(2, RpcStatusProto, required=True)
    serverIpcVersionNum: int = uint32(3)
    exceptionClassName: str = string(4)
    errorMsg: str = string(5)
    errorDetail: RpcErrorCodeProto = enumeration(6, RpcErrorCodeProto)
    clientId: bytes = bytestring(7)
    retryCount: int = sint32(8, -1)
    stateId: int = int64(9)
    routerFederatedState: bytes = bytestring(10)


class SaslState(IntEnum):
    SUCCESS = 0
    NEGOTIATE = 1
    INITIATE = 2
    CHALLENGE = 3
    RESPONSE = 4
    WRAP = 5


class SaslAuth(Message):
    method: str = string(1, required=True)
    mechanism: str = string(2, required=True)
    protocol: str = string(3)
    serverId: str = string(4)
    challenge: bytes = bytestring(5)


class RpcSaslProto(Message):
    version: int = uint32(1)
    state: SaslState = enumeration(2, SaslState, required=True)
    token: bytes = bytestring(3)
    auths: list[SaslAuth] = message(4, SaslAuth, repeated=True)


class UserInformationProto(Message):
    effectiveUser: str = string(1)
    realUser: str = string(2)


class IpcConnectionContextProto(Message):
    userInfo: UserInformationProto | None = message(2, UserInformationProto)
    protocol: str = string(3)


class RequestHeaderProto(Message):
    methodName: str = string(1, required=True)
    declaringClassProtocolName: str = string(2, required=True)
    clientProtocolVersion: int = uint64(3, required=True)
