"""The fake Compute Engine over HTTP, on loopback, and Google's endpoint for tokens.

Used by the lab's server and by tests of the provider.  Every request needs the token.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gcp.lab.engine import Engine
from gcp.lab.rules import RefusedError

TOKEN = "lab-token"
PROJECT = "lab-project-1"
_ZONE, _NAME = r"zones/([a-z0-9-]+)", r"([a-z0-9-]+)"
_CALLS: list[tuple[str, str, str]] = [
    ("compute.instances.list", "GET", r"aggregated/instances"),
    ("compute.instances.insert", "POST", rf"{_ZONE}/instances"),
    ("compute.instances.delete", "DELETE", rf"{_ZONE}/instances/{_NAME}"),
    ("compute.instances.setLabels", "POST", rf"{_ZONE}/instances/{_NAME}/setLabels"),
    (
        "compute.instances.getSerialPortOutput",
        "GET",
        rf"{_ZONE}/instances/{_NAME}/serialPort",
    ),
    ("compute.zoneOperations.wait", "POST", rf"{_ZONE}/operations/{_NAME}/wait"),
]


class FakeGce:
    """A server; use it as a context.

    Args:
        before: called at each request, in the lock.

    Attributes:
        engine: what it serves; touch it in `lock`.
        calls: the name of each call and the status it was answered with.
        inserted: the body and the query of each insert.
    """

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.engine = Engine()
        self.lock = threading.Lock()
        self.calls: list[tuple[str, int]] = []
        self.inserted: list[tuple[dict[str, Any], dict[str, str]]] = []
        self._before = before
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}/compute/v1/"
        self.token_uri = f"http://127.0.0.1:{self.port}/token"

    def __enter__(self) -> FakeGce:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, url: str, token: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any], bool]:
        """Status, answer, and whether it gets lost."""
        with self.lock:
            self._before()
            self.engine.go_on()
            name = "?"
            try:
                name, words, query = _call(method, url)
                self._may(name, token)
                found = self._do(name, words, body, query)
            except RefusedError as error:
                self.calls.append((name, error.status))
                said = [{"reason": error.reason, "message": str(error), "domain": "global"}]
                refusal = {"code": error.status, "message": str(error), "errors": said}
                return error.status, {"error": refusal}, False
            self.calls.append((name, 200))
            lost = name == "compute.instances.insert" and self.engine.faults.lose > 0
            self.engine.faults.lose -= lost
            return 200, json.loads(json.dumps(found)), lost

    def _may(self, name: str, token: str) -> None:
        faults = self.engine.faults
        if token != f"Bearer {TOKEN}":
            raise RefusedError(401, "authError", "Invalid Credentials")
        if faults.throttle:
            faults.throttle -= 1
            raise RefusedError(403, "rateLimitExceeded", "Rate Limit Exceeded")
        if name in faults.deny:
            text = f"Required '{name}' permission for 'projects/{PROJECT}'"
            raise RefusedError(403, "forbidden", text)

    def _do(
        self, name: str, words: tuple[str, ...], body: dict[str, Any], query: dict[str, str]
    ) -> Any:
        if name == "compute.instances.list":
            return self.engine.aggregated(query)
        if name == "compute.instances.insert":
            self.inserted.append((body, query))
            return self.engine.insert(words[0], body, query)
        if name == "compute.instances.delete":
            return self.engine.delete(*words)
        if name == "compute.instances.setLabels":
            return self.engine.set_labels(words[0], words[1], body)
        if name == "compute.zoneOperations.wait":
            return self.engine.operation(*words)
        self.engine.one(*words)
        return {"contents": "booted\n"}


def _call(method: str, url: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    parts = urlsplit(url)
    prefix = f"/compute/v1/projects/{PROJECT}/"
    if not parts.path.startswith(prefix):
        raise RefusedError(404, "notFound", f"no project at {parts.path}")
    path = parts.path[len(prefix) :]
    for name, verb, pattern in _CALLS:
        match = re.fullmatch(pattern, path)
        if match and verb == method:
            return name, match.groups(), dict(parse_qsl(parts.query))
    raise RefusedError(404, "notFound", f"{method} {path} is not served")


def _handler(fake: FakeGce) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/token":
                found = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
                self._send(200, found)
                return
            token = self.headers.get("Authorization", "")
            body = json.loads(data or b"{}")
            status, answer, lost = fake.answer(self.command, self.path, token, body)
            if lost:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._send(status, answer)

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler
