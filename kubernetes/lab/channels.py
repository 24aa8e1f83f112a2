"""The server's side of `rayhpc.kubernetes.exec`: a command whose streams are WebSocket channels.

Used by the lab's kubelet, and by the tests' fake API server.
"""

from __future__ import annotations

import json
import select
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from typing import IO

from rayhpc.kubernetes.exec import ERROR, PROTOCOL, STDERR, STDIN, STDOUT
from rayhpc.kubernetes.websocket import BINARY, CLOSE, accept_of, frame, read_message


class CommandHandler(BaseHTTPRequestHandler):
    """An HTTP server's handler that can run commands."""

    def setup(self) -> None:
        """What comes and goes is with several threads."""
        super().setup()
        self._guard = threading.Lock()

    def serve_command(self, words: list[str]) -> None:
        """Answer the request that is being served by running a command to its end."""
        self.send_response_only(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", accept_of(self.headers["Sec-WebSocket-Key"]))
        self.send_header("Sec-WebSocket-Protocol", PROTOCOL)
        self.end_headers()
        with subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as command:
            assert command.stdin is not None
            assert command.stdout is not None
            assert command.stderr is not None
            threading.Thread(target=self._feed, args=(command.stdin,), daemon=True).start()
            other = threading.Thread(target=self._pass, args=(STDERR, command.stderr))
            other.start()
            self._pass(STDOUT, command.stdout)
            other.join()
            code = command.wait()
        self._say(ERROR, json.dumps(_status(code)).encode())
        self.wfile.write(frame(CLOSE, b"\x03\xe8", masked=False))

    def _feed(self, stdin: IO[bytes]) -> None:
        try:
            while True:
                kind, message = read_message(self._receive)
                if kind == CLOSE:
                    return
                if message[:1] == bytes([STDIN]):
                    stdin.write(message[1:])
                    stdin.flush()
        except (OSError, EOFError, ValueError):
            return  # one of them has gone

    def _receive(self, size: int) -> bytes:
        """A TLS connection is not for two threads at once: whoever waits does so outside of it."""
        with self._guard:
            pending = self.connection.pending()
        if not pending:
            select.select([self.connection], [], [])
        with self._guard:
            return bytes(self.connection.recv(size))

    def _pass(self, channel: int, output: IO[bytes]) -> None:
        while piece := output.read1(1 << 16):  # type: ignore[attr-defined]
            self._say(channel, piece)

    def _say(self, channel: int, piece: bytes) -> None:
        with self._guard:
            self.wfile.write(frame(BINARY, bytes([channel]) + piece, masked=False))


def _status(code: int) -> dict[str, object]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    cause = {"reason": "ExitCode", "message": str(code if code > 0 else 128 - code)}
    text = f"command terminated with exit code {code}"
    details = {"causes": [cause]}
    return {"status": "Failure", "reason": "NonZeroExitCode", "message": text, "details": details}
