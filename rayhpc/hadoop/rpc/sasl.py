"""The exchange in which a server learns who we are: a token, by DIGEST-MD5.

Used by `connection`.  NEGOTIATE, INITIATE, perhaps CHALLENGE and RESPONSE, then SUCCESS.
"""

from __future__ import annotations

import base64

from rayhpc.hadoop.errors import AuthenticationError
from rayhpc.hadoop.messages.rpc import RpcSaslProto, SaslAuth, SaslState
from rayhpc.hadoop.protobuf import delimited
from rayhpc.hadoop.rpc.digest_md5 import DigestMd5
from rayhpc.hadoop.rpc.frames import SASL_CALL, Frames
from rayhpc.hadoop.tokens import Token


def authenticate(frames: Frames, token: Token) -> DigestMd5:
    """Prove that we have `token`; the result protects what follows.

    Raises:
        AuthenticationError: there is no common method, or the server is not the token's.
        RemoteError: the server does not accept the token.
    """
    auth = _choose(_exchange(frames, RpcSaslProto(state=SaslState.NEGOTIATE)))
    chosen = [
        SaslAuth(
            method=auth.method,
            mechanism=auth.mechanism,
            protocol=auth.protocol,
            serverId=auth.serverId,
        )
    ]
    challenge, state = auth.challenge, SaslState.INITIATE
    if not challenge:  # a server that does not send it with its offer
        first = RpcSaslProto(state=SaslState.INITIATE, token=b"", auths=chosen)
        challenge, state, chosen = _exchange(frames, first).token, SaslState.RESPONSE, []
    digest = DigestMd5(
        challenge,
        base64.b64encode(token.identifier).decode(),
        base64.b64encode(token.password).decode(),
        f"{auth.protocol}/{auth.serverId}",
    )
    answer = _exchange(frames, RpcSaslProto(state=state, token=digest.response, auths=chosen))
    if answer.state != SaslState.SUCCESS:
        raise AuthenticationError(f"the server wants more than a token: {answer.state!r}")
    digest.check(answer.token)
    return digest


def _choose(offer: RpcSaslProto) -> SaslAuth:
    for auth in offer.auths:
        if auth.method == "TOKEN" and auth.mechanism == "DIGEST-MD5":
            return auth
    offered = ", ".join(f"{auth.method} by {auth.mechanism or 'nothing'}" for auth in offer.auths)
    raise AuthenticationError(
        f"the server accepts no token by DIGEST-MD5, but {offered or 'nothing'}: look at its "
        "hadoop.security.sasl.mechanism and hadoop.security.authentication"
    )


def _exchange(frames: Frames, message: RpcSaslProto) -> RpcSaslProto:
    frames.send(SASL_CALL, delimited(message))
    return frames.receive(RpcSaslProto)[1]
