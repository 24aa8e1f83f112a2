"""A cloud's API of ours over HTTP, on loopback: what the fakes of clouds have in common.

Used by the labs of clouds, and by tests of their providers, which say how a request is answered.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar


@dataclass(frozen=True)
class Request:
    """One request; `url` is what comes after the server's name, `body` empty unless it is JSON."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """Its answer; `is_lost`: nobody gets it.  A body of None: there is none; a text goes as is."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_lost: bool = False


Self = TypeVar("Self", bound="FakeApi")


class FakeApi:
    """A server; use it as a context.

    Args:
        before: called at each request, in the lock.

    Attributes:
        lock: touch what it serves in there.
        calls: the name of each call and the status it was answered with.
        inserted: the body of each request for a machine, and what was said beside it.
        root: its address.
    """

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.lock = threading.Lock()
        self.calls: list[tuple[str, int]] = []
        self.inserted: list[tuple[dict[str, Any], dict[str, str]]] = []
        self._before = before
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.root = f"http://127.0.0.1:{self.port}"

    def __enter__(self: Self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, request: Request) -> Reply:
        """The answer, in the lock."""
        raise NotImplementedError

    def serve(self, request: Request) -> Reply:
        """The answer."""
        with self.lock:
            self._before()
            return self.reply(request)


def _text(body: Any) -> str:
    if isinstance(body, str):
        return body
    return "" if body is None else json.dumps(body)


def _handler(fake: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = "json" in self.headers.get("Content-Type", "")
            body = json.loads(data) if data and is_json else {}
            reply = fake.serve(Request(self.command, self.path, self.headers, body))
            if reply.is_lost:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            text = _text(reply.body).encode()
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            if text:
                kind = "text/plain" if isinstance(reply.body, str) else "application/json"
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler
