"""A process's ways to others of its node: order, routes, and processes that end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from rayhpc.wire import codec, sockets
from rayhpc.wire.address import make_address, raylet_of
from rayhpc.wire.keys import KeyPair, new_key_pair
from rayhpc.wire.messages.leases import Leaving
from rayhpc.wire.monitor import CLOSED, DOWN, NO_HANDSHAKE, REFUSED, UP, Monitor
from rayhpc.wire.transport import Transport
from tests.wire.helpers import LocalRaylet, poll_until

NODE = 5
_FAILED = int(zmq.Event.HANDSHAKE_FAILED_PROTOCOL) | NO_HANDSHAKE | REFUSED


class Party:
    """One process's transport, and what it has brought."""

    def __init__(self, number: int, session: str, ipc_key: KeyPair | None = None) -> None:
        self.context = zmq.Context()
        self.me = make_address(NODE, number)
        self.transport = Transport(self.context, self.me, session, ipc_key=ipc_key)
        self.frames: list[bytes] = []

    def send(self, to: int, text: str) -> None:
        self.transport.send(to, Leaving(text))

    def texts(self) -> list[str]:
        decode = codec.Decoder([Leaving])
        return [decode(x).reason for x in self.frames]

    def turn(self) -> None:
        self.frames += self.transport.receive()

    def expect(self, texts: list[str]) -> None:
        enough = lambda: len(self.frames) >= len(texts)  # noqa: E731
        assert poll_until(enough, self.transport.sockets, self.turn)
        assert self.texts() == texts
        self.frames.clear()

    def routes(self) -> Collection[int]:
        """Where it would send without dialling first."""
        streams = self.transport._streams
        own = {} if streams is None else streams._routes
        return {*self.transport._routes, *own}

    def close(self) -> None:
        self.transport.close()
        self.context.destroy(linger=0)


class Raylet(LocalRaylet):
    """The raylet's end, and what it has been sent."""

    def __init__(self, session: str, ipc_key: KeyPair | None) -> None:
        super().__init__(session, NODE, ipc_key)
        self.frames: list[bytes] = []

    def turn(self) -> None:
        self.frames += self.receive()

    def expect(self, count: int) -> list[bytes]:
        assert poll_until(lambda: len(self.frames) >= count, self.sockets, self.turn)
        return self.frames


class Session:
    """Some processes of one node, and its raylet."""

    def __init__(self, folder: Path, ipc_key: KeyPair | None) -> None:
        (folder / "p").mkdir()
        self.folder = str(folder)
        self.ipc_key = ipc_key
        self.raylet = Raylet(self.folder, ipc_key)
        self.parties: list[Party] = []

    def add(self, number: int) -> Party:
        self.parties.append(Party(number, self.folder, self.ipc_key))
        return self.parties[-1]

    def add_stranger(self, number: int, ipc_key: KeyPair | None) -> Party:
        """One of our uid that does not know the session's key."""
        self.parties.append(Party(number, self.folder, ipc_key))
        return self.parties[-1]


@pytest.fixture(params=["by its directory", "by a key"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    """A session that is protected in this way."""
    session = Session(tmp_path, new_key_pair() if request.param == "by a key" else None)
    yield session
    for party in session.parties:
        party.close()
    session.raylet.close()


def numbers(count: int) -> list[str]:
    return [str(x) for x in range(count)]


def test_messages_keep_their_order_both_ways(session: Session) -> None:
    one, other = session.add(1), session.add(2)
    for text in numbers(500):
        one.send(other.me, text)
        other.send(one.me, text)
    other.expect(numbers(500))
    one.expect(numbers(500))


def test_an_answer_goes_back_the_way_the_question_came(session: Session) -> None:
    one, other = session.add(1), session.add(2)
    one.send(other.me, "question")
    other.expect(["question"])
    other.send(one.me, "answer")
    one.expect(["answer"])
    assert one.me in other.routes()
    assert other.transport._opened == 1  # to the raylet only


def test_other_nodes_are_reached_through_the_raylet(session: Session) -> None:
    raylet, one = session.raylet, session.add(1)
    far = make_address(NODE + 1, 3)
    one.send(far, "far")
    one.send(raylet_of(NODE), "near")
    frames = raylet.expect(2)
    assert [codec.destination_of(x) for x in frames] == [far, raylet.me]
    assert [codec.source_of(x) for x in frames] == [one.me, one.me]


def test_a_process_may_write_to_itself(session: Session) -> None:
    one = session.add(1)
    one.send(one.me, "note")
    one.expect(["note"])


def test_a_process_that_does_not_listen_yet_is_reached_once_it_does(session: Session) -> None:
    one = session.add(1)
    late = make_address(NODE, 2)
    one.send(late, "too early")
    assert late not in one.routes()
    other = session.add(2)
    for text in numbers(3):
        one.send(late, text)
    other.expect(numbers(3))
    other.send(one.me, "hello")
    one.expect(["hello"])
    one.send(late, "hello")
    other.expect(["hello"])


def test_one_that_speaks_after_it_was_spoken_to_too_early_is_answered(session: Session) -> None:
    one = session.add(1)
    one.send(make_address(NODE, 2), "too early")
    other = session.add(2)
    other.send(one.me, "question")
    one.expect(["question"])
    one.send(other.me, "answer")
    other.expect(["answer"])


def test_a_path_is_probed(tmp_path: Path) -> None:
    path = str(tmp_path / "one")
    assert not sockets.listens_ipc(path)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(path)
    assert not sockets.listens_ipc(path)
    bound.listen(0)
    assert [sockets.listens_ipc(path) for _ in range(4)] == [True] * 4
    bound.close()
    assert not sockets.listens_ipc(path)


def test_what_a_dead_process_said_last_arrives(session: Session) -> None:
    one = session.add(1)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            dying = Party(2, session.folder, session.ipc_key)
            os.write(write, b"!")
            dying.expect(["go"])
            for text in numbers(100):
                dying.send(one.me, text)
            dying.transport.close()
            dying.context.term()
        finally:
            os._exit(0)
    dead = make_address(NODE, 2)
    assert os.read(read, 1)
    os.close(read)
    os.close(write)
    one.send(dead, "go")
    os.waitpid(pid, 0)
    one.expect(numbers(100))
    one.transport.forget(dead)
    one.send(dead, "to nobody")
    assert dead not in one.routes()


@pytest.mark.parametrize("session", ["by its directory"], indirect=True)
def test_what_it_said_last_is_read_before_the_news_of_its_end(session: Session) -> None:
    raylet, one, other = session.raylet, session.add(1), session.add(2)
    raylet.hear(one.transport)
    other.send(one.me, "last words")
    assert raylet.pass_on(codec.encode(one.me, raylet.me, Leaving("it has died")))
    connected = one.transport._connected
    assert poll_until(lambda: sockets.has_input(connected), [connected], lambda: None)
    one.frames += one.transport.receive_from(connected)
    assert one.texts() == ["last words", "it has died"]


def test_processes_come_and_go_without_end(session: Session) -> None:
    """libzmq aborts the process if a peer's name is used twice; nobody's ever is."""
    one = session.add(1)
    for number in range(2, 60):
        party = Party(number, session.folder, session.ipc_key)
        one.send(party.me, "hello")
        party.expect(["hello"])
        party.send(one.me, "hello")
        one.expect(["hello"])
        if number % 2:
            party.close()
        one.transport.forget(party.me)
        one.send(party.me, "too late")
        one.transport.forget(party.me)
        if not party.context.closed:
            party.close()
    assert len(one.transport._ended_connected) <= 16
    assert len(one.routes()) == 1


def test_processes_that_end_unseen_are_forgotten_in_time(session: Session) -> None:
    one, stays = session.add(1), session.add(2)
    one.send(stays.me, "first")
    stays.expect(["first"])
    for number in range(3, 300):
        party = Party(number, session.folder, session.ipc_key)
        if number % 2:
            one.send(party.me, "hello")
            party.expect(["hello"])
        else:
            party.send(one.me, "hello")
            one.expect(["hello"])
        party.close()
        Path(session.folder, "p", f"{number:x}").unlink(missing_ok=True)
    assert len(one.routes()) < 3 * 64
    one.send(stays.me, "still there")
    stays.expect(["still there"])


def test_a_process_that_was_killed_stops_nobody(session: Session) -> None:
    one, other = session.add(1), session.add(3)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        Party(2, session.folder, session.ipc_key)
        os.write(write, b"!")
        signal.pause()
    assert os.read(read, 1)
    one.send(make_address(NODE, 2), "hello")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for _ in range(100):
        one.send(make_address(NODE, 2), "x" * 1000)
    one.send(other.me, "still here")
    other.expect(["still here"])
    os.close(read)
    os.close(write)


def test_a_frame_that_nobody_would_take_is_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session.add(1)
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 1000)
    with pytest.raises(ValueError, match=r"rayhpc\.put"):
        one.send(raylet_of(NODE), "x" * 2000)


@pytest.mark.parametrize("with_a_key", [False, True])
@pytest.mark.parametrize("session", ["by a key"], indirect=True)
def test_who_does_not_know_the_key_gets_nothing_through(
    session: Session, with_a_key: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    raylet, one = session.raylet, session.add(1)
    monitors: list[Monitor] = []
    make = sockets.make_router

    def make_watched(context: Any, routing_id: bytes) -> Any:
        sock = make(context, routing_id=routing_id)
        monitors.append(Monitor(sock, UP | DOWN | CLOSED | _FAILED))  # before it connects
        return sock

    monkeypatch.setattr(sockets, "make_router", make_watched)
    stranger = session.add_stranger(2, new_key_pair() if with_a_key else None)
    monitor = monitors[0]  # what it connects with is made first
    seen: list[int] = []
    stranger.send(raylet.me, "take this")
    stranger.send(one.me, "and this")
    look = lambda: seen.extend(x.kind for x in monitor.events())  # noqa: E731
    assert poll_until(lambda: bool(seen), (monitor.socket,), look)
    assert UP not in seen
    # Nor does it hear what is meant for the process whose place it has taken.
    one.send(stranger.me, "for number 2")
    one.send(raylet.me, "last")
    (frame,) = raylet.expect(1)
    assert codec.Decoder([Leaving])(frame).reason == "last"
    for party in (one, stranger):
        party.turn()
        assert party.frames == []
    for each in monitors:
        each.close()
