"""Two raylets' line alone: whatever breaks, each frame arrives once and in order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from rayhpc.wire import codec
from rayhpc.wire.address import raylet_of
from rayhpc.wire.messages.windows import Credit
from rayhpc.wire.peer_line import PeerLine

from .world import World

SEEDS = range(60)
_decode = codec.Decoder((Credit,))


@dataclass(eq=False)
class Connection:
    """One TCP connection: keeps the order, until it breaks; each end notices in its own time."""

    caller: End
    is_broken: bool = False
    last: dict[int, float] = field(default_factory=lambda: {1: 0.0, 2: 0.0})


class End:
    """One raylet: sends numbers, remembers those that come, dials when it has no connection."""

    def __init__(self, world: World, me: int) -> None:
        self.world = world
        self.me = me
        self.line: PeerLine[Connection] = PeerLine(me, 3 - me, self)
        self.other: End = self
        self.sent = 0
        self.got: list[int] = []
        self.own: Connection | None = None  # made, or being made, by us
        self.fails = 0.0

    def send(self) -> None:
        self.sent += 1
        self.line.send(codec.encode(raylet_of(3 - self.me), raylet_of(self.me), Credit(self.sent)))
        self.dial()

    def dial(self) -> None:
        if self.own is None and self.line.via is None:
            made = self.own = Connection(self)
            wait = self.world.random.uniform(0.0, 0.02)
            self.world.after(wait, lambda: self._dialled(made))

    def _dialled(self, made: Connection) -> None:
        if self.own is not made:
            return
        if self.world.random.random() < self.fails:
            self.own = None
            self.world.after(0.01, self.dial)
        else:
            self.line.connected(made)

    def break_off(self) -> None:
        via = self.line.via or self.line.greeted
        if via is None:
            return
        via.is_broken = True
        for end in (self, self.other):
            # What has come before is read first.
            wait = max(0.0, via.last[end.me] - self.world.time)
            late = self.world.random.choice((0.0, 0.0, 0.05))
            self.world.after(wait + late + 1e-6, lambda e=end: e._noticed(via))

    def _noticed(self, via: Connection) -> None:
        if self.own is via:
            self.own = None
        if self.line.uses(via):
            self.line.broke()
            self.dial()

    def _arrive(self, via: Connection, frame: bytes) -> None:
        if via.caller is self and self.own is not via:
            return  # we have hung up
        taken = self.line.take(via, frame)
        if taken is not None:
            self.got.append(_decode(taken).size)

    # -- LineIO -----------------------------------------------------------------------------------
    def transmit(self, via: Connection, frame: bytes) -> bool:
        if via.is_broken:
            return True  # nobody has noticed yet
        now, other = self.world.time, self.other
        arrival = max(now + self.world.random.uniform(0.0, 0.005), via.last[other.me] + 1e-9)
        via.last[other.me] = arrival
        # A break takes with it what arrives later.
        self.world.after(arrival - now, lambda: via.is_broken or other._arrive(via, frame))
        return True

    def hang_up(self, node: int) -> None:
        assert node == self.other.me
        if self.own is not None:
            self.own.is_broken = True
            via, self.own = self.own, None
            self.world.after(0.001, lambda: self.other._noticed(via))

    def is_up(self, node: int) -> None:
        assert node == self.other.me


@pytest.mark.parametrize("fails", [0.0, 0.5])
def test_each_frame_arrives_once_and_in_order(fails: float) -> None:
    for seed in SEEDS:
        world = World(seed)
        rng = random.Random(seed)
        one, two = End(world, 1), End(world, 2)
        one.other, two.other = two, one
        one.fails = two.fails = fails
        for _ in range(200):
            dice = rng.random()
            end = rng.choice((one, two))
            if dice < 0.85:
                end.send()
            elif dice < 0.93:
                end.break_off()
            world.run_for(rng.choice((0.0, 0.0005, 0.003, 0.03)))
        world.run(lambda a=one, b=two: len(a.got) == b.sent and len(b.got) == a.sent, 5.0)
        assert one.got == list(range(1, two.sent + 1)), seed
        assert two.got == list(range(1, one.sent + 1)), seed


def test_what_is_acknowledged_is_not_kept() -> None:
    world = World(1)
    one, two = End(world, 1), End(world, 2)
    one.other, two.other = two, one
    for _ in range(1000):
        one.send()
        world.run_for(0.01)
    assert two.got == list(range(1, 1001))
    assert len(one.line._numbered.missing(0)) < 64
