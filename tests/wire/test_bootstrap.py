"""Attaching: the first words between a driver and its raylet, and what strangers get."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rayhpc.exceptions import RaySystemError
from rayhpc.wire import bootstrap
from rayhpc.wire.bootstrap import AttachError, AttachServer, Connection, attach


class Raylet:
    """A server that answers in its own thread, as a raylet's loop does."""

    def __init__(self, path: str, session: int | None = None) -> None:
        self.server = AttachServer(path, session)
        self.path = path
        self.answer: Callable[[Connection], tuple[dict[str, Any], list[int]]] = lambda c: (
            {"echo": c.hello, "pid": c.pid},
            [],
        )
        self.ended: list[Connection] = []
        self.changed = threading.Condition()
        self._end, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._end not in select.select([self.server.fd, self._end], [], [])[0]:
            for connection in self.server.accept():
                self.server.reply(connection, *self.answer(connection))
            with self.changed:
                self.ended += self.server.ended()
                self.changed.notify_all()

    def close(self) -> None:
        os.close(self._stop)
        self._thread.join()
        os.close(self._end)
        self.server.close()


@pytest.fixture
def raylet(tmp_path: Path) -> Iterator[Raylet]:
    raylet = Raylet(str(tmp_path / "raylet.sock"))
    yield raylet
    raylet.close()


def test_hello_and_reply(raylet: Raylet) -> None:
    hello = {"role": "driver", "blob": bytes(3_000_000), "path": ["a", "b"]}
    raylet.answer = lambda c: ({"same": c.hello == hello, "pid": c.pid, "big": "x" * 100_000}, [])
    reply, fds, connection = attach(raylet.path, hello, 10)
    assert reply == {"same": True, "pid": os.getpid(), "big": "x" * 100_000}
    assert fds == []
    connection.close()


def test_descriptors_come_with_the_reply_and_are_not_inherited(raylet: Raylet) -> None:
    read, write = os.pipe()
    raylet.answer = lambda _: ({}, [read, write])
    _, fds, connection = attach(raylet.path, {}, 10)
    assert len(fds) == 2
    assert not any(os.get_inheritable(x) for x in fds)
    os.write(fds[1], b"through")
    assert os.read(read, 10) == b"through"
    connection.close()
    for fd in (read, write, *fds):
        os.close(fd)


def test_a_refusal_is_an_error_with_its_sentence(raylet: Raylet) -> None:
    raylet.answer = lambda _: ({"error": "Wrong version; use 1.2."}, [])
    with pytest.raises(AttachError, match=r"Wrong version; use 1\.2\."):
        attach(raylet.path, {}, 10)
    assert issubclass(AttachError, RaySystemError)


def test_the_end_of_a_driver_is_seen_once(raylet: Raylet) -> None:
    pid = os.fork()
    if not pid:
        try:
            attach(raylet.path, {"child": True}, 10)
        finally:
            os._exit(0)  # the kernel closes its connection
    os.waitpid(pid, 0)
    with raylet.changed:
        assert raylet.changed.wait_for(lambda: bool(raylet.ended), 60)
    assert [x.pid for x in raylet.ended] == [pid]
    assert raylet.ended[0].hello == {"child": True}


def test_strangers_and_nonsense_disturb_nobody(raylet: Raylet) -> None:
    strangers = []
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\3abc", b"\xff" * 100, b"\0\0\0\1\x92"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(raylet.path)
        sock.sendall(words)
        strangers.append(sock)
    reply, _, connection = attach(raylet.path, {"a": 1}, 10)
    assert reply["echo"] == {"a": 1}
    for sock, words in zip(strangers, (False, True, True, True, True), strict=True):
        if words:
            sock.settimeout(10)
            with pytest.raises((ConnectionError, EOFError)):
                _read_end(sock)
        sock.close()
    connection.close()
    assert raylet.ended == [] or raylet.ended[0].hello == {"a": 1}


def _read_end(sock: socket.socket) -> None:
    if not sock.recv(1):
        raise EOFError


def test_silent_connections_are_bounded(raylet: Raylet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_STRANGERS_MAX", 3)
    silent = []
    for _ in range(10):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(raylet.path)
        silent.append(sock)
    silent[0].settimeout(10)
    assert silent[0].recv(1) == b""
    attach(raylet.path, {}, 10)[2].close()
    assert len(raylet.server._strangers) <= 3
    for sock in silent:
        sock.close()


def test_many_attach_at_once(raylet: Raylet) -> None:
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda x: attach(raylet.path, {"n": x}, 20), range(50)))
    assert [x[0]["echo"]["n"] for x in replies] == list(range(50))
    for reply in replies:
        reply[2].close()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(AttachError, match="rayhpc status"):
        attach(str(tmp_path / "none"), {}, 1)


def test_a_raylet_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with pytest.raises(AttachError, match="not answered within"):
            attach(str(tmp_path / "mute"), {}, 0.05)


def test_a_path_that_is_too_long_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="shorter name"):
        AttachServer(str(tmp_path / ("x" * 120)))


def in_another_session(action: Callable[[], object]) -> str:
    """What `action` raises in a process of ours that is in a kernel's session of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "nothing"
        try:
            os.setsid()
            action()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as file:
        return file.read().decode()


def test_a_shared_uid_is_not_enough(tmp_path: Path) -> None:
    mine = os.getsid(0)
    raylet = Raylet(str(tmp_path / "raylet.sock"), mine)
    try:
        said = in_another_session(lambda: attach(raylet.path, {}, 10.0))
        assert said == f"AttachError: {bootstrap.OUTSIDE}"
        assert attach(raylet.path, {"role": "driver"}, 10.0, mine)[0]["pid"] == os.getpid()
        # Nor does a program speak to a raylet that somebody else has put there.
        said = in_another_session(lambda: attach(raylet.path, {}, 10.0, os.getsid(0)))
        assert said == f"AttachError: The session at {raylet.path} is not yours."
    finally:
        raylet.close()
