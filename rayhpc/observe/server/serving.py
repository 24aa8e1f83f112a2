"""The listener of one dashboard, on loopback or a Unix socket, and when it ends.

Used by `rayhpc dashboard`.  It ends when no page has been open for ten minutes, soon after the
cluster ends, and on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from rayhpc.exit_codes import ExitCode, LaunchError

CLOSED_S = 600.0
# Open pages are told of the cluster's end before we exit.
_LAST_WORDS_S = 2.0
_HOST = "127.0.0.1"


def listener(port: int, path: str | None) -> socket.socket:
    """The socket, reachable only from this machine; a Unix socket only by this user.

    Raises:
        LaunchError: it cannot be opened.
    """
    try:
        if path is None:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((_HOST, port))
            # Before anybody learns its path.
            sock.listen()
            return sock
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen()
        return sock
    except OSError as error:
        place = path or f"port {port} of {_HOST}"
        raise LaunchError(f"{place}: {error.strerror}", ExitCode.CONFIGURATION) from None


class Ending:
    """Decides when the server ends; used in its loop.

    Args:
        stop: ends the server.
        say: tells the user why.
        closed_s: how long to go on without an open page, in seconds.
    """

    def __init__(
        self, stop: Callable[[], None], say: Callable[[str], None], closed_s: float = CLOSED_S
    ) -> None:
        self._stop = stop
        self._say = say
        self._closed = closed_s
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def readers(self, count: int) -> None:
        """Note how many pages are open now."""
        if self._is_over:  # the pages are being told, and go
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not count:
            words = f"no page has been open for {self._closed / 60:g} minutes: the dashboard ends"
            self._later(self._closed, words)

    def over(self, reason: str) -> None:
        """Note that the cluster has ended."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        self._later(_LAST_WORDS_S, f"{reason}; the dashboard ends with it")

    def _later(self, seconds: float, words: str) -> None:
        def end() -> None:
            self._say(words)
            self._stop()

        self._timer = asyncio.get_running_loop().call_later(seconds, end)


class _Server(uvicorn.Server):  # type: ignore[misc]
    """Ends the pages' streams before it waits for its connections to end."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        super().__init__(config)
        self._close = close

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._close()
        await super().shutdown(sockets)


def server(application: Any, close: Callable[[], None]) -> uvicorn.Server:
    """The server of an application; logs only errors, as the first request has the token.

    Args:
        application: the ASGI application.
        close: ends the application's streams; called as the server ends, whatever ends it.
    """
    return _Server(
        uvicorn.Config(
            application,
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
            loop="asyncio",
            http="h11",
            ws="none",
        ),
        close,
    )


def on_enter(call: Callable[[], None]) -> None:
    """Have a function called for every line typed at the terminal, if there is one."""
    if not sys.stdin.isatty():
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        if sys.stdin.readline():
            call()
        else:
            loop.remove_reader(sys.stdin)

    loop.add_reader(sys.stdin, read)
