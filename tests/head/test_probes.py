"""Whether a raylet's process is there, by real TCP."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from collections.abc import Iterator

import msgspec
import pytest

from rayhpc.head import probes
from rayhpc.head.probes import Probes
from rayhpc.wire.messages.common import NodeInfo

from .fakes import node_info

LOOPBACK = "127.0.0.1"


@pytest.fixture
def asked() -> Iterator[Probes]:
    found = Probes(time.monotonic)
    yield found
    found.close()


def at(*endpoints: tuple[str, int]) -> NodeInfo:
    return msgspec.structs.replace(node_info("node", {}), endpoints=list(endpoints))


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]


def rounds(asked: Probes, wanted: dict[int, NodeInfo], count: int) -> list[list[int]]:
    """What so many calls say, each made when it is due."""
    found = []
    for _ in range(count):
        found.append(asked.ended(wanted))
        wait = min(1.0, max(0.0, asked.deadline() - time.monotonic()))
        select.select([asked], [], [], wait)
    return found


def test_nobody_is_asked_unless_it_is_wanted(asked: Probes) -> None:
    assert asked.ended({}) == []
    assert asked.deadline() == math.inf


def test_a_machine_that_refuses_has_no_raylet(asked: Probes) -> None:
    dead = at((LOOPBACK, closed_port()))
    assert [1] in rounds(asked, {1: dead}, 3)
    assert asked.ended({}) == []
    assert asked.deadline() == math.inf


def test_one_that_accepts_is_asked_again_until_it_refuses(asked: Probes) -> None:
    with contextlib.closing(socket.create_server((LOOPBACK, 0))) as listener:
        wanted = {1: at(listener.getsockname()[:2])}
        assert not any(rounds(asked, wanted, 6))
    assert any(found == [1] for found in rounds(asked, wanted, 6))


def test_one_address_that_accepts_is_enough_for_a_raylet_to_be_there(asked: Probes) -> None:
    with contextlib.closing(socket.create_server((LOOPBACK, 0))) as listener:
        # Another machine may have the first address, too, as that of a container's bridge.
        wanted = {1: at((LOOPBACK, closed_port()), listener.getsockname()[:2])}
        assert not any(rounds(asked, wanted, 6))


@contextlib.contextmanager
def mute() -> Iterator[tuple[str, int]]:
    """Whoever dials it hears nothing: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        for _ in range(3):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[:2]


def test_an_address_that_does_not_answer_proves_nothing(
    asked: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "ANSWER_S", 0.05)
    with mute() as silent:
        assert not any(rounds(asked, {1: at(silent)}, 4))
        dead = at(silent, (LOOPBACK, closed_port()))
        assert any(found == [2] for found in rounds(asked, {2: dead}, 4))


def test_each_has_its_turn_and_no_descriptor_is_left(
    asked: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "MOST", 2)
    monkeypatch.setattr(probes, "ANSWER_S", 0.05)
    wanted = {number: at((LOOPBACK, closed_port())) for number in range(1, 6)}
    found: set[int] = set()
    while wanted:
        for number in asked.ended(wanted):
            found.add(number)
            del wanted[number]
    asked.ended({})
    assert found == {1, 2, 3, 4, 5}
    assert asked.deadline() == math.inf
    assert asked._node_of == {}
