"""Runs a command in a pod and waits for its end, over the WebSocket that API servers serve.

The protocol is `v4.channel.k8s.io`: each message begins with its channel's number.  It cannot say
that standard input has ended, so a command that reads it must know how much there is.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import UnreachableError
from rayhpc.kubernetes.objects import POD
from rayhpc.kubernetes.websocket import BINARY, CLOSE, PING, PONG, accept_of, frame, read_message

PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
_PIECE = 1 << 16
Take = Callable[[int, bytes], None]


def run_in_pod(
    client: Client, pod: str, command: Sequence[str], data: bytes = b"", take: Take | None = None
) -> int:
    """Run a command in the first container of a pod.

    Args:
        client: to the API server.
        pod: the pod's name.
        command: the program and its arguments, without a shell.
        data: what it finds on its standard input, which stays open.
        take: gets what it writes: STDOUT or STDERR, and the bytes.

    Returns:
        Its exit code.

    Raises:
        ApiError: it is refused.
        UnreachableError: the connection broke; whether it still runs is unknown.
    """
    query = [("command", word) for word in command]
    query += [("stdout", "1"), ("stderr", "1"), *([("stdin", "1")] if data else [])]
    path = f"{POD.path(client.namespace, pod)}/exec?{urlencode(query)}"
    connection = client.connect(None)
    try:
        wish = _handshake()
        answer = client.upgrade(connection, path, wish)
        if answer.headers.get("Sec-WebSocket-Accept") != accept_of(wish["Sec-WebSocket-Key"]):
            raise ValueError("the server answers something else than WebSocket")
        for start in range(0, len(data), _PIECE):
            piece = bytes([STDIN]) + data[start : start + _PIECE]
            connection.sock.sendall(frame(BINARY, piece, masked=True))
        return _follow(connection, answer, take)
    except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
        text = str(error) or "it has ended"
        raise UnreachableError(f"the connection to pod {pod} broke: {text}") from None
    finally:
        connection.close()


def _handshake() -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": PROTOCOL,
    }


def _follow(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, take: Take | None
) -> int:
    """Until the command has ended.  From the answer, which may have read ahead."""
    while True:
        kind, message = read_message(answer.fp.read1)
        if kind == PING:
            connection.sock.sendall(frame(PONG, message, masked=True))
        elif kind == CLOSE:
            raise EOFError("the server closed it")
        elif not message:
            continue
        elif message[0] == ERROR:
            return _code_in(message[1:])
        elif take is not None and message[0] in (STDOUT, STDERR) and message[1:]:
            take(message[0], message[1:])


def _code_in(status: bytes) -> int:
    """The exit code in the last message.  Raises ValueError: it did not run."""
    said = json.loads(status)
    if said.get("status") == "Success":
        return 0
    for cause in (said.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ValueError(said.get("message") or "the command did not run")
