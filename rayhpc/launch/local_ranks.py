"""Several ranks on one node: the first runs the node, the others lend it their share.

Used by `run`.  They talk over a socket in this user's private directory on the node; a rank that
lends keeps its connection open until the end, so each side notices the other's death.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rayhpc.allocation.local_ranks import LocalFacts
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.election import Role
from rayhpc.machine import scratch
from rayhpc.machine.gpus import Gpus

_PAUSE_S = 0.02
_MOST_BYTES = 1 << 20


class FirstRank:
    """The side of the rank that runs the node.

    Args:
        role: its own role.
        environ: tells where the private directory is.
    """

    def __init__(self, role: Role, environ: Mapping[str, str]) -> None:
        self._expected = role.local_size - 1
        self._path = _socket_path(role, environ)
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen(self._expected)
        self._others: list[socket.socket] = []

    def gather(self, timeout_s: float, pause: Callable[[float], None]) -> list[LocalFacts]:
        """The share of each other rank on the node.

        Raises:
            LaunchError: some of them do not arrive in time.
        """
        found: list[LocalFacts] = []
        deadline = time.monotonic() + timeout_s
        self._listener.setblocking(False)
        while len(found) < self._expected:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LaunchError(
                        f"{self._expected - len(found)} of this node's {self._expected + 1} ranks "
                        f"did not start within {timeout_s:g} s",
                        ExitCode.RENDEZVOUS,
                    ) from None
                pause(_PAUSE_S)
                continue
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            line = _read_line(connection)
            if not line:  # only a look whether this socket is alive (`leftovers`)
                connection.close()
                continue
            found.append(_decode(line))
            self._others.append(connection)
        self._path.unlink(missing_ok=True)
        return found

    def release(self, code: int) -> None:
        """Let the other ranks exit, with this exit code."""
        self._path.unlink(missing_ok=True)
        for connection in self._others:
            try:
                connection.sendall(b"%d\n" % code)
            except OSError:
                pass  # it ended before us
            connection.close()
        self._others.clear()
        self._listener.close()


def lend(
    role: Role,
    environ: Mapping[str, str],
    facts: LocalFacts,
    timeout_s: float,
    pause: Callable[[float], None],
) -> socket.socket:
    """Lend this rank's processors and GPUs to the first; returns the connection to wait on.

    Raises:
        LaunchError: the first rank does not appear in time.
    """
    path = _socket_path(role, environ)
    deadline = time.monotonic() + timeout_s
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            connection.sendall(_encode(facts))
        except OSError:
            connection.close()
            if time.monotonic() >= deadline:
                raise LaunchError(
                    f"the first rank of this node did not start within {timeout_s:g} s",
                    ExitCode.RENDEZVOUS,
                ) from None
            pause(_PAUSE_S)
            continue
        return connection


def end_of(connection: socket.socket) -> int:
    """The exit code that the first rank sends at the end."""
    text = _read_line(connection)
    return int(text) if text else int(ExitCode.NODE_LOST)


def _socket_path(role: Role, environ: Mapping[str, str]) -> Path:
    """A path that only the ranks of this start on this node use."""
    text = f"{role.name}/{role.node}/{socket.gethostname()}"
    return scratch.session_base(environ) / ("r" + hashlib.sha256(text.encode()).hexdigest()[:12])


def _encode(facts: LocalFacts) -> bytes:
    document: dict[str, Any] = asdict(facts)
    document["affinity"] = sorted(facts.affinity)
    return json.dumps(document).encode() + b"\n"


def _decode(line: bytes) -> LocalFacts:
    try:
        document = json.loads(line)
        gpus = {**document["gpus"], "ids": tuple(document["gpus"]["ids"])}
        return LocalFacts(
            frozenset(document["affinity"]), Gpus(**gpus), document["cpus"], document["memory"]
        )
    except (ValueError, KeyError, TypeError):
        raise LaunchError("another rank of this node ended while it started") from None


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < _MOST_BYTES:
        try:
            part = connection.recv(1 << 16)
        except InterruptedError:
            continue
        except OSError:
            part = b""
        if not part:
            return b""
        data += part
    return data
