"""Waiting for messages: nothing that has arrived is left waiting."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rayhpc.runtime.process import sockets
from rayhpc.runtime.process.sockets import Sockets
from rayhpc.wire import codec, direct_sockets
from rayhpc.wire.address import make_address
from rayhpc.wire.key_agreement import Secret
from rayhpc.wire.keys import new_key_pair
from rayhpc.wire.messages.leases import Shutdown
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.sockets import has_input
from tests.wire.helpers import LocalRaylet, poll_until

ME = make_address(5, 1)


class Process:
    """The sockets of one process, and the reasons that its raylet has given for an end."""

    def __init__(self, folder: Path, with_a_key: bool) -> None:
        (folder / "p").mkdir()
        key = new_key_pair() if with_a_key else None
        self.raylet = LocalRaylet(str(folder), 5, key)
        self.sockets = Sockets(Facts(ME, "c", str(folder), "n", "127.0.0.1", 1, "", ipc_key=key))
        self.sockets.take = self._take
        self.reasons: list[str] = []
        self.raylet.hear(self.sockets.transport)

    def _take(self, source: int, message: Any, size: int) -> None:
        self.reasons.append(message.reason)
        if message.reason == "wait for the next":
            self.sockets.poll(5.0, _never)

    def tell(self, reason: str) -> None:
        assert self.raylet.pass_on(codec.encode(ME, self.raylet.me, Shutdown(reason)))

    def await_input(self) -> None:
        connected = self.sockets.transport._connected
        assert poll_until(lambda: has_input(connected), [connected], lambda: None)

    def close(self) -> None:
        self.sockets.transport.close()
        self.sockets.close()
        self.raylet.close()


def _never(descriptor: int) -> None:
    raise AssertionError(descriptor)


@pytest.fixture(params=["by its directory", "by a key"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """A process of a session that is protected in this way."""
    process = Process(tmp_path, request.param == "by a key")
    yield process
    process.close()


def test_what_came_while_a_socket_was_used_is_read_before_the_next_wait(process: Process) -> None:
    process.tell("hello")
    process.await_input()  # now its descriptor is silent
    process.sockets.poll(5.0, _never)
    assert process.reasons == ["hello"]


def test_a_turn_inside_a_handler_takes_what_has_been_read(process: Process) -> None:
    process.tell("wait for the next")
    process.tell("the next")
    process.await_input()
    while len(process.reasons) < 2:
        process.sockets.poll(5.0, _never)
    assert process.reasons == ["wait for the next", "the next"]


def test_what_comes_later_ends_the_wait(process: Process) -> None:
    process.sockets.poll(0.0, _never)
    for reason in ("one", "two"):
        process.tell(reason)
        while reason not in process.reasons:
            process.sockets.poll(5.0, _never)
    assert process.reasons == ["one", "two"]


@pytest.mark.parametrize("process", ["by its directory"], indirect=True)
def test_without_descriptors_it_tries_again_though_nothing_comes(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = process.sockets.transport._streams
    assert streams is not None
    tries: list[bool] = []

    class Full:
        def accept(self) -> None:
            tries.append(True)
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(sockets, "RETRY_S", 0.001)
    monkeypatch.setattr(streams, "_listener", Full())
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(streams._path)
        while len(tries) < 3:
            process.sockets.poll(None, _never)


def test_what_the_raylet_said_is_handled_before_the_end_of_its_connection(process: Process) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        process.sockets.watch(ours.fileno())
        process.sockets.poll(0.0, _never)
        process.tell("the last words")
        process.await_input()
        theirs.close()
        seen: list[list[str]] = []
        while not seen:
            process.sockets.poll(5.0, lambda _: seen.append(list(process.reasons)))
        process.sockets.unwatch(ours.fileno())
    assert seen == [["the last words"]]


def test_zeromq_is_asked_only_when_it_was_used_or_has_something(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = process.sockets.transport
    while transport.touched:
        process.sockets.poll(0.0, _never)
    asked: list[Any] = []

    def note(sock: Any) -> bool:
        asked.append(sock)
        return has_input(sock)

    monkeypatch.setattr(sockets, "has_input", note)
    process.sockets.poll(0.0, _never)
    assert not asked
    transport.send(process.raylet.me, Shutdown("hello"))
    process.sockets.poll(0.0, _never)
    assert asked == transport.zeromq


@pytest.mark.parametrize("process", ["by its directory"], indirect=True)
def test_what_is_closed_while_its_event_waits_disturbs_nobody(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = process.sockets.transport._direct
    monkeypatch.setattr(direct, "_ips", ["127.0.0.1"])
    endpoints, _ = direct.offer(make_address(6, 1), Secret().public)
    with ExitStack() as stack:

        def dial() -> socket.socket:
            return stack.enter_context(socket.create_connection(endpoints[0]))

        oldest, *_ = [dial() for _ in range(direct_sockets._STRANGERS)]
        while len(direct._strangers) < direct_sockets._STRANGERS:
            process.sockets.poll(5.0, _never)
        first = direct._strangers[0]
        dial()  # for this one, the oldest has to go,
        oldest.sendall(b"x")  # which has an event after the listener's
        while direct._strangers[0] is first:
            process.sockets.poll(5.0, _never)
        assert len(direct._strangers) == direct_sockets._STRANGERS
