"""Windows: order is kept, a full one holds up its receiver alone, and no ring of them is stuck."""

from __future__ import annotations

import random
from collections import deque

import pytest

from rayhpc.wire import codec, limits
from rayhpc.wire.address import Address, make_address, raylet_of
from rayhpc.wire.messages.leases import Leaving
from rayhpc.wire.messages.windows import Credit
from rayhpc.wire.windows import Windows

ME, THEM, THIRD = make_address(1, 1), make_address(1, 2), make_address(2, 1)
FRAME = len(codec.encode(ME, THEM, Leaving("x" * 100)))
_decode = codec.Decoder([Leaving, Credit])


class Side:
    """A process whose frames arrive in `net` when they are let."""

    def __init__(self, me: Address, net: dict[tuple[int, int], deque[bytes]], size: int) -> None:
        self.me = me
        self.net = net
        self.windows = Windows(me, self._transmit, size)
        self.heard: dict[int, list[str]] = {}
        self.full: list[int] = []
        self.room: list[int] = []
        self.windows.on_full = self.full.append
        self.windows.on_room = self.room.append

    def _transmit(self, destination: Address, frame: bytes) -> bool:
        self.net.setdefault((self.me, destination), deque()).append(frame)
        return True

    def say(self, destination: Address, text: str) -> None:
        self.windows.send(destination, Leaving(text.ljust(100)))

    def read(self, source: Address) -> None:
        frame = self.net[source, self.me].popleft()
        message = _decode(frame)
        if isinstance(message, Credit):
            self.windows.on_credit(source, message)
        else:
            self.windows.on_received(source, len(frame))
            self.heard.setdefault(source, []).append(message.reason.strip())


def sides(*addresses: Address, size: int = 4 * FRAME) -> list[Side]:
    net: dict[tuple[int, int], deque[bytes]] = {}
    return [Side(x, net, size) for x in addresses]


def test_a_full_window_keeps_the_rest_in_order_and_holds_up_nobody_else() -> None:
    one, two, three = sides(ME, THEM, THIRD)
    for i in range(10):
        one.say(THEM, str(i))
    assert len(one.net[ME, THEM]) == 4
    assert not one.windows.has_room(THEM)
    assert one.windows.waiting_bytes == 6 * FRAME
    assert one.full == [THEM]
    one.say(THIRD, "past")
    one.windows.send(raylet_of(1), Leaving("to a raylet"))
    three.read(ME)
    assert three.heard == {ME: ["past"]}
    while one.net[ME, THEM]:
        two.read(ME)
        while one.net.get((THEM, ME)):
            one.read(THEM)
    assert two.heard == {ME: [str(i) for i in range(10)]}
    assert (one.windows.waiting_bytes, one.windows.has_room(THEM)) == (0, True)
    assert one.room[-1] == THEM


def test_a_frame_larger_than_the_window_goes_alone() -> None:
    one, two = sides(ME, THEM, size=10)
    for i in range(3):
        one.say(THEM, str(i))
        assert len(one.net[ME, THEM]) == 1 if i == 0 else True
    for _ in range(3):
        two.read(ME)
        one.read(THEM)
    assert two.heard == {ME: ["0", "1", "2"]}


def test_nothing_is_kept_of_a_process_that_has_ended() -> None:
    one, _, _ = sides(ME, THEM, THIRD)
    for other in (THEM, THIRD):
        for i in range(10):
            one.say(other, str(i))
    one.windows.forget(THEM)
    assert one.windows.waiting_bytes == 6 * FRAME
    one.windows.forget_node(2)
    assert one.windows.waiting_bytes == 0
    one.windows.on_credit(THEM, Credit(10 * FRAME))  # said before its end
    assert one.windows.has_room(THEM)


def test_what_nobody_can_get_takes_no_room() -> None:
    windows = Windows(ME, lambda _, __: False, FRAME)
    for _ in range(10):
        windows.send(THEM, Leaving("x" * 100))
    assert windows.has_room(THEM)


@pytest.mark.parametrize("seed", range(30))
def test_processes_that_all_send_with_full_windows_end(seed: int) -> None:
    rng = random.Random(seed)
    addresses = [make_address(rng.randint(1, 3), i) for i in range(1, rng.randint(3, 6))]
    size = rng.choice([1, FRAME, 3 * FRAME, 20 * FRAME])
    everybody = sides(*addresses, size=size)
    by_address = {x.me: x for x in everybody}
    net = everybody[0].net
    said: dict[tuple[int, int], list[str]] = {}
    # Each hears something only when all have said all: every window is full.
    for number in range(200):
        one, other = rng.sample(everybody, 2)
        one.say(other.me, str(number))
        said.setdefault((one.me, other.me), []).append(str(number))
    while any(net.values()):
        source, destination = rng.choice([x for x, frames in net.items() if frames])
        by_address[destination].read(source)
        for (a, _), frames in net.items():
            data = sum(len(x) for x in frames if type(_decode(x)) is Leaving)
            assert data <= size + FRAME, a
    for (source, destination), texts in said.items():
        assert by_address[destination].heard[source] == texts
    assert all(x.windows.waiting_bytes == 0 for x in everybody)


def test_those_for_whom_more_than_their_share_waits_are_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "AHEAD_BYTES", 6 * FRAME)
    one, _two, three = sides(ME, THEM, THIRD)
    for i in range(10):
        one.say(THEM, str(i))
    assert not one.windows.is_behind(THEM)
    one.say(THEM, "10")
    assert one.windows.is_behind(THEM)
    assert not one.windows.is_behind(THIRD)
    for i in range(7):
        one.say(THIRD, str(i))
    assert not one.windows.is_behind(THIRD)  # three wait: no more than half of what may
    one.say(THIRD, "7")
    assert one.windows.is_behind(THIRD)
    one.windows.forget(THEM)
    assert not one.windows.is_behind(THIRD)
    while three.heard.get(ME, []) != [str(i) for i in range(8)]:
        three.read(ME)
        while one.net.get((THIRD, ME)):
            one.read(THIRD)
    assert one.windows.waiting_bytes == 0
