"""A little HTTP server for the pages that we read.

Used by the fake ResourceManager and NodeManagers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

Page = Callable[[str, dict[str, str]], "str | None"]


class WebServer:
    """Serves what `page` says for a path and its query; None is a 404."""

    def __init__(self, host: str, page: Page) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                found = page(parts.path, dict(parse_qsl(parts.query)))
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write((found or "").encode(errors="surrogateescape"))

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.host, self.port = host, self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
