"""Which cryptography library libzmq was built with, and whether it is fast.

Called by `doctor` and by a node's preflight checks.  Loads pyzmq only on first use, opens no
socket.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

# One X25519 multiplication: about 30 µs with libsodium, over 500 µs with tweetnacl.
SLOW_MICROSECONDS = 300.0
_TRIES = 20


@dataclass(frozen=True)
class Crypto:
    """`library` is libsodium, tweetnacl (judged by its speed), libzmq's own choice, or none."""

    libzmq: str
    pyzmq: str
    curve: bool
    library: str
    microseconds: float

    @property
    def slow(self) -> bool:
        """Whether encrypted transfers will be many times slower than they should be."""
        return self.curve and self.microseconds > SLOW_MICROSECONDS


def read_crypto() -> Crypto:
    """Ask libzmq, and time its public-key operation (the best of 20, about 1 ms in all)."""
    import zmq

    curve = bool(zmq.has("curve"))
    spent = _fastest_multiplication() if curve else 0.0
    return Crypto(zmq.zmq_version(), zmq.__version__, curve, _library(curve, spent), spent)


def _fastest_multiplication() -> float:
    import zmq

    _, secret = zmq.curve_keypair()
    best = float("inf")
    for _ in range(_TRIES):
        begin = time.perf_counter()
        zmq.curve_public(secret)
        best = min(best, time.perf_counter() - begin)
    return best * 1e6


def _library(curve: bool, microseconds: float) -> str:
    if not curve:
        return "none"
    if _mapped("libsodium"):
        return "libsodium"
    return "tweetnacl" if microseconds > SLOW_MICROSECONDS else "libsodium (built in)"


def _mapped(name: str) -> bool:
    """Whether this process has loaded a shared library with that name."""
    try:
        with open("/proc/self/maps", errors="replace") as file:
            return any(name in line for line in file)
    except OSError:
        return False
