"""An HTTPS server with a thread for each connection, in which TLS begins.

Used by the lab's kubelet, and by the tests' fake API server.
"""

from __future__ import annotations

import ssl
from http.server import ThreadingHTTPServer
from typing import Any


class TlsServer(ThreadingHTTPServer):
    """Set `tls` before it serves."""

    daemon_threads = True
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """A client that does not trust us, or whom we do not, goes without a word."""
        try:
            request = self.tls.wrap_socket(request, server_side=True)
        except OSError:
            return
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""
