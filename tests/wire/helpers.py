"""What the tests of `rayhpc.wire` share: polling owners of sockets until something holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import zmq

LOOPBACK = "127.0.0.1"


def poll_until(
    done: Callable[[], bool],
    sockets: Iterable[Any],
    turn: Callable[[], object],
    timeout: float = 10.0,
) -> bool:
    """Run `turn` whenever one of `sockets` has something, until `done()`; False: it never was."""
    poller = zmq.Poller()
    for sock in sockets:
        poller.register(sock, zmq.POLLIN)
    deadline = time.monotonic() + timeout
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        poller.poll(min(left, 1.0) * 1000)
        turn()
    return True
