"""Direct links alone: whatever breaks, what is sent to another process arrives once, in order."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rayhpc.wire import codec, direct_links, messages
from rayhpc.wire.address import Address, make_address, raylet_of
from rayhpc.wire.direct_links import DirectLinks
from rayhpc.wire.messages.windows import Credit

from .direct import SimDirect
from .world import World

ONE, TWO, THREE = (make_address(node, 5) for node in (1, 2, 3))
RUNS = 8  # of each seed: each takes some milliseconds
_decode = codec.Decoder(messages.PROCESS_TAKES)


class Party:
    """A process that only sends numbers, and remembers those that come."""

    def __init__(self, world: World, address: Address, most: int = 64) -> None:
        self.world = world
        self.me = address
        self.alive = True
        self.got: dict[Address, list[int]] = defaultdict(list)
        self.sent: dict[Address, int] = defaultdict(int)
        self.watched: list[Address] = []
        self.troubles: list[str] = []
        self.direct = SimDirect(self, address)  # type: ignore[arg-type]
        self.links = self.direct.links = DirectLinks(address, self._relay, self.direct, most)
        self.links.deliver = self.deliver
        self.links.on_peer = self.watched.append
        self.links.on_trouble = self.troubles.append
        self._handlers = self.links.handlers()
        world.join(address, messages.PROCESS_TAKES, self._take)

    def send(self, to: Address) -> None:
        """The next number."""
        frame = codec.encode(to, self.me, Credit(self.sent[to]))
        self.sent[to] += 1
        assert self.links.send(to, frame)

    def _relay(self, to: Address, frame: bytes) -> bool:
        if self.alive:
            self.world.transmit(self.me, to, frame)
        return True

    def _take(self, source: Address, message: Any) -> None:
        if isinstance(message, Credit):
            self.got[source].append(message.size)
        else:
            self._handlers[type(message)](source, message)

    def deliver(self, frame: bytes) -> None:
        """A frame came over a link."""
        self._take(codec.source_of(frame), _decode(frame))

    def read_later(self, action: Callable[..., None], *args: Any) -> None:
        """Something came that is no message."""
        self.world.when_it_reads(self.me, lambda: self.alive and action(*args))

    def die(self) -> None:
        """End, without a word."""
        self.alive = False
        self.world.leave(self.me)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links begin early, and again and again."""
    monkeypatch.setattr(direct_links, "ASK_AFTER", 2)
    monkeypatch.setattr(direct_links, "ASK_AGAIN_AFTER", 4)
    monkeypatch.setattr(direct_links, "_DOUBLED_MOST", 0)
    monkeypatch.setattr(direct_links, "ACK_FRAMES", 3)


def worlds(
    seed: int, fails: float = 0.2, breaks: float = 0.05, silent: float = 0.0
) -> Iterator[World]:
    """Some worlds with a raylet on each of three nodes."""
    for run in range(RUNS):
        world = World(seed * RUNS + run)
        world.direct.fails, world.direct.breaks, world.direct.silent = fails, breaks, silent
        for node in (1, 2, 3):
            world.join(raylet_of(node), messages.RAYLET_TAKES, lambda *_: None)
        yield world


def talk(world: World, parties: list[Party], count: int = 60) -> None:
    """Everybody sends to everybody, at random times."""
    chance = random.Random(world.seed)
    for _ in range(count):
        for party in parties:
            for other in parties:
                if other is not party and party.alive and chance.random() < 0.7:
                    for _ in range(chance.choice((1, 1, 1, 5))):
                        party.send(other.me)
        world.run_for(chance.choice((0.0, 0.0005, 0.003, 0.02)))


def check(world: World, parties: list[Party]) -> None:
    """Everything has arrived, once and in order, and nothing is held back for ever."""
    world.run_for(5.0)
    for party in parties:
        for other in parties:
            if other is not party:
                assert other.got[party.me] == list(range(party.sent[other.me])), world.tail()
        for peer in party.links._peers.values():
            assert not peer.held
            assert not peer.early
            assert peer.sending != direct_links.HELD
            assert len(peer.kept) <= 3 + 1


def test_everything_arrives_once_and_in_order(seed: int) -> None:
    over_links = 0
    for world in worlds(seed):
        parties = [Party(world, x) for x in (ONE, TWO, THREE)]
        talk(world, parties)
        check(world, parties)
        over_links += world.direct.frames
    assert over_links > RUNS * 100


def test_a_dial_that_nobody_answers_is_given_up_for_the_next(seed: int) -> None:
    for world in worlds(seed, fails=0.0, breaks=0.0, silent=1.0):
        parties = [Party(world, x) for x in (ONE, TWO, THREE)]
        talk(world, parties, 10)
        assert not world.direct.frames
        world.direct.silent = 0.3
        talk(world, parties)
        check(world, parties)
        assert all(x.links.count() == 2 for x in parties)


def test_links_that_last_carry_nearly_everything(seed: int) -> None:
    for world in worlds(seed, fails=0.0, breaks=0.0):
        parties = [Party(world, x) for x in (ONE, TWO, THREE)]
        talk(world, parties)
        check(world, parties)
        assert all(x.links.count() == 2 for x in parties)
        before = world.direct.frames
        talk(world, parties, 20)
        world.run_for(1.0)
        check(world, parties)
        late = world.direct.frames - before
        assert late > 20 * 6 * 0.7
        assert all(other in x.watched for x in parties for other in x.links._peers)


@pytest.mark.parametrize("carried", [0, 200])
def test_a_link_that_was_worth_it_is_soon_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, seed: int, carried: int
) -> None:
    monkeypatch.setattr(direct_links, "_DOUBLED_MOST", 10)
    world = next(worlds(seed, fails=0.0, breaks=0.0))
    one, two = Party(world, ONE), Party(world, TWO)
    for _ in range(4):
        while not one.links.count():
            one.send(TWO)
            world.run_for(0.02)
        for _ in range(carried):
            one.send(TWO)
        world.run_for(0.02)
        world.direct.cut_all()
        world.run_for(1.0)
    assert one.links._peers[TWO].failures == (1 if carried else 4)
    check(world, [one, two])


def test_two_that_ask_at_the_same_time_have_one_link(seed: int) -> None:
    for world in worlds(seed, fails=0.0, breaks=0.0):
        one, two = Party(world, ONE), Party(world, TWO)
        for _ in range(3):
            one.send(TWO)
            two.send(ONE)
        check(world, [one, two])
        assert one.links.count() == two.links.count() == 1
        assert len(one.direct.ends) == len(two.direct.ends) == 1


def test_where_nobody_can_listen_the_raylets_relay(seed: int) -> None:
    for world in worlds(seed, fails=0.0):
        world.direct.closed = {ONE, TWO}
        one, two = Party(world, ONE), Party(world, TWO)
        talk(world, [one, two])
        check(world, [one, two])
        assert not world.direct.frames
        assert set(one.troubles + two.troubles) == {"no port is free"}


def test_where_no_dial_succeeds_traffic_goes_on_meanwhile(seed: int) -> None:
    for world in worlds(seed, fails=1.0):
        one, two = Party(world, ONE), Party(world, TWO)
        talk(world, [one, two])
        check(world, [one, two])
        assert not world.direct.frames


def test_beyond_the_cap_raylets_relay(seed: int) -> None:
    for world in worlds(seed, fails=0.0, breaks=0.0):
        parties = [Party(world, x, most=1) for x in (ONE, TWO, THREE)]
        talk(world, parties)
        check(world, parties)
        assert all(x.links.count() <= 1 for x in parties)
        assert world.direct.frames


def test_one_that_does_not_read_for_long_loses_nothing(seed: int) -> None:
    for world in worlds(seed):
        one, two = Party(world, ONE), Party(world, TWO)
        talk(world, [one, two], 10)
        world.stop(TWO)
        for _ in range(20):
            one.send(TWO)
            world.run_for(0.01)
        world.direct.cut_all()
        world.run_for(1.0)
        world.go_on(TWO)
        talk(world, [one, two], 10)
        check(world, [one, two])


@pytest.mark.parametrize("stage", range(5))
def test_a_death_in_any_state_leaves_nothing(seed: int, stage: int) -> None:
    """The dead one has been in the given state, as the other sees it, if that came about."""
    for world in worlds(seed):
        one, two, three = (Party(world, x) for x in (ONE, TWO, THREE))
        chance = random.Random(world.seed)
        for _ in range(200):
            one.send(TWO)
            two.send(ONE)
            world.run_for(chance.uniform(0.0, 0.003))
            peer = one.links._peers.get(TWO)
            if peer is not None and peer.stage == stage:
                break
        two.die()
        one.send(TWO)
        world.run_for(chance.choice((0.0, 0.001, 0.1)))
        got = one.got[TWO]
        assert got == list(range(len(got)))
        one.links.forget(TWO)
        assert not one.links._peers
        assert not one.links._by_via
        assert not one.direct.admitted
        world.run_for(1.0)  # what is still with the raylets comes, in real life before the news
        assert got == list(range(len(got)))
        talk(world, [one, three], 10)
        check(world, [one, three])


def test_a_node_that_counts_as_dead_is_heard_no_more(seed: int) -> None:
    for world in worlds(seed, fails=0.0, breaks=0.0):
        one, two = Party(world, ONE), Party(world, TWO)
        talk(world, [one, two], 10)
        world.run_for(0.1)
        assert one.links.count() == 1
        two.send(ONE)
        one.links.forget_node(2)
        before = len(one.got[TWO])
        for _ in range(5):
            two.send(ONE)  # it does not know yet
        world.sever(1, 2)
        world.run_for(1.0)
        assert len(one.got[TWO]) == before
