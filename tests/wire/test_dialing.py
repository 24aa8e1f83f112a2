"""One attempt to reach a listener: which of the monitor's events concern it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from rayhpc.wire import sockets
from rayhpc.wire.dialing import CONNECTED, DIALING, FAILED, Dial, advance
from rayhpc.wire.keys import new_key_pair
from rayhpc.wire.monitor import CLOSED, DOWN, OPENED, UP, Event
from tests.wire.helpers import LOOPBACK

OLD, NEW = 7, 9


class Dialling:
    """A socket, and what its monitor is made to say."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        keys = new_key_pair()
        self.sock = sockets.make_tcp_client(self.context, zmq.DEALER, keys, routing_id=b"me")
        self.in_use: dict[str, Dial] = {}
        names = iter(b"%d" % i for i in range(99))
        self.dial = Dial(
            self.sock, [(LOOPBACK, 1)], new_key_pair().public, lambda: next(names), self.in_use
        )

    def says(self, kind: int, value: int = 0) -> list[Dial]:
        return list(advance([Event(kind, value, self.dial.endpoint)], self.in_use))

    def close(self) -> None:
        self.sock.close(linger=0)
        self.context.destroy(linger=0)


@pytest.fixture
def dialling() -> Iterator[Dialling]:
    found = Dialling()
    yield found
    found.close()


def test_the_late_end_of_an_earlier_connection_is_not_that_of_this_one(dialling: Dialling) -> None:
    dial = dialling.dial
    # The earlier one, to the same address, has ended, which the monitor says only now.
    assert dialling.says(DOWN, OLD) == []
    assert dial.state == DIALING
    dialling.says(OPENED, NEW)
    assert dialling.says(DOWN, OLD) == dialling.says(CLOSED, OLD) == []
    assert dialling.says(UP) == [dial]
    assert dialling.says(DOWN, OLD) == []
    assert (dial.state, dial.reasons) == (CONNECTED, {})
    assert dialling.says(DOWN, NEW) == [dial]
    assert dial.state == FAILED


def test_an_attempt_that_fails_is_followed_by_another_one(dialling: Dialling) -> None:
    dial = dialling.dial
    first = dial.name
    assert dialling.says(CLOSED, NEW) == []
    second = dial.name
    dialling.says(OPENED, NEW)
    assert dialling.says(DOWN, NEW) == []
    assert len({first, second, dial.name}) == 3
    # The first address of the next attempt may get the same descriptor.
    assert dialling.says(DOWN, NEW) == []
    assert dialling.says(CLOSED, NEW) == [dial]
    assert dial.state == FAILED
