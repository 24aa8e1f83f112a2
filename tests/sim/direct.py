"""Direct links without sockets: frames go from process to process, in order, until a link breaks.

Used by `threads.SimSockets`; `World.direct` has all of them.  What is on its way when a link breaks
is lost, and each end notices in its own time.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from rayhpc.wire.address import Address
from rayhpc.wire.direct_links import DirectLinks, Via

if TYPE_CHECKING:
    from .process import SimProcess
    from .world import World

_MOST_S = 0.004
_NOTICED_S = 0.05


class _End:
    """One end of a connection: whose it is, and when the last frame for it arrives."""

    def __init__(self, party: SimDirect, via: Via) -> None:
        self.party = party
        self.via = via
        self.last = 0.0
        self.other: _End = self
        # It has been read to its end, and its owner knows.
        self.is_over = False
        self.is_broken = False


class DirectNet:
    """All direct links of a cluster.

    Attributes:
        fails: how likely an attempt to dial fails.
        silent: how likely nobody ever answers one.
        breaks: how likely a frame breaks its link.
        closed: processes that cannot listen.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(world.seed)
        self.parties: dict[Address, SimDirect] = {}
        self.fails = self.breaks = self.silent = 0.0
        self.closed: set[Address] = set()
        self.frames = 0

    def cut_all(self) -> None:
        """Every link breaks now."""
        for party in list(self.parties.values()):
            for end in list(party.ends.values()):
                self.cut(end)

    def cut(self, end: _End) -> None:
        """A link breaks; both ends notice a little later."""
        for each in (end, end.other):
            if not each.is_broken:
                each.is_broken = True
                self.later(each.party, _NOTICED_S, each.party.noticed, each)

    def leave(self, address: Address) -> None:
        """A process has ended."""
        party = self.parties.pop(address, None)
        for end in list(party.ends.values()) if party is not None else ():
            self.cut(end)

    def later(self, party: SimDirect, most: float, action: object, *args: object) -> None:
        """Have a process read something after a while."""
        wait = self.chance.uniform(0.0, most)
        self.world.after(wait, lambda: party.process.read_later(action, *args))


class SimDirect:
    """What one process's direct links need of the world: its `LinkIO`."""

    links: DirectLinks

    def __init__(self, process: SimProcess, address: Address) -> None:
        self.process = process
        self.me = address
        self.net: DirectNet = process.world.direct
        self.ends: dict[Via, _End] = {}
        self.admitted: dict[Address, bytes] = {}
        self._dialled: dict[Address, Via] = {}
        self._reached: dict[Address, Via] = {}
        self._numbers = itertools.count(1)
        self.net.parties[address] = self

    def ask(self, peer: Address) -> bytes:
        return self._key()

    def offer(self, peer: Address, key: bytes) -> tuple[list[tuple[str, int]], bytes]:
        if self.me in self.net.closed:
            raise OSError("no port is free")
        assert key == peer.to_bytes(8, "big")
        self.admitted[peer] = key
        return [("sim", 1)], self._key()

    def _key(self) -> bytes:
        return self.me.to_bytes(8, "big")

    def dial(self, peer: Address, endpoints: list[tuple[str, int]], key: bytes) -> None:
        assert key == peer.to_bytes(8, "big")
        number = next(self._numbers).to_bytes(4, "big")
        via = self._dialled[peer] = b">" + key + number
        if self.net.chance.random() < self.net.silent:
            return
        self.net.later(self, _MOST_S, self._reach, peer, via, b"@" + self._key() + number)

    def hasten(self, peer: Address) -> None:
        via = self._dialled[peer]
        if via not in self.ends:
            self.links.broke(peer, via)

    def _reach(self, peer: Address, via: Via, theirs: Via) -> None:
        if self._dialled.get(peer) != via:
            return  # it has been given up
        other = self.net.parties.get(peer)
        fails = self.net.chance.random() < self.net.fails
        if other is None or fails or other.admitted.pop(self.me, b"") != self._key():
            self.links.broke(peer, via)
            return
        mine, far = _End(self, via), _End(other, theirs)
        mine.other, far.other = far, mine
        self.ends[via], other.ends[theirs] = mine, far
        other._reached[self.me] = theirs
        self.links.connected(peer, via)

    def send(self, via: Via, frame: bytes) -> bool:
        end = self.ends.get(via)
        if end is None or not self.process.alive:
            return False
        net = self.net
        if net.chance.random() < net.breaks:
            net.cut(end)
        if not end.is_broken:
            net.frames += 1
            far, now = end.other, net.world.time
            far.last = max(far.last + 1e-9, now + net.chance.uniform(0.00001, _MOST_S))
            net.world.after(far.last - now, lambda: far.party.arrive(far, frame))
        return True

    def arrive(self, end: _End, frame: bytes) -> None:
        """A frame has come, unless the link broke before."""
        if not end.is_broken:
            self.process.read_later(self._read, end, frame)

    def _read(self, end: _End, frame: bytes) -> None:
        if end.is_over:
            return
        ready = self.links.take(end.via, frame)
        if ready is not None:
            self.process.deliver(ready)

    def noticed(self, end: _End) -> None:
        """A connection's end is noticed, after what had come before."""
        if not end.is_over:
            self._forget(end)
            self.links.broke(end.other.party.me, end.via)

    def _forget(self, end: _End) -> None:
        end.is_over = True
        self.ends.pop(end.via, None)

    def close(self, peer: Address) -> None:
        self.admitted.pop(peer, None)
        for via in (self._dialled.pop(peer, b""), self._reached.pop(peer, b"")):
            end = self.ends.get(via)
            if end is not None:
                self._forget(end)
                self.net.cut(end)
