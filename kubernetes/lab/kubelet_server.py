"""What a kubelet serves to the API server: the output of containers, and commands inside them.

Used by `kubelet`.  HTTPS on the hub's own address; the API server alone can reach what it says,
with the client certificate that the lab gave it.
"""

from __future__ import annotations

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.lab.channels import CommandHandler
from kubernetes.lab.tls_server import TlsServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubernetes.lab.pods import Running

_LOOK_S = 0.05


def serve(running: Mapping[tuple[str, str], Running], certificate: Path, host: str) -> int:
    """Serve what runs, by namespace and pod; returns the port."""
    server = TlsServer((host, 0), type("Handler", (_Handler,), {"running": running}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate.with_name("authority.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    server.tls = context
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class _Handler(CommandHandler, BaseHTTPRequestHandler):
    running: Mapping[tuple[str, str], Running]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        self.close_connection = True
        url = urlsplit(self.path)
        what, namespace, pod, *_ = [*url.path.strip("/").split("/"), "", ""]
        running = self.running.get((namespace, pod))
        if running is None:
            self.send_error(404, f"no container runs in {pod}")
        elif what == "containerLogs":
            self._log(running, parse_qs(url.query))
        elif what == "exec" and "Sec-WebSocket-Key" in self.headers:
            self.serve_command(running.enter(parse_qs(url.query)["command"]))
        else:
            self.send_error(404)

    def _log(self, running: Running, query: dict[str, list[str]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        follow = query.get("follow") == ["true"]
        with running.log.open("rb") as file:
            while True:
                over = not running.is_alive
                data = file.read()
                if data:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    self.wfile.flush()
                elif over or not follow:
                    break
                else:
                    time.sleep(_LOOK_S)  # a kubelet looks at files as well
        self.wfile.write(b"0\r\n\r\n")
