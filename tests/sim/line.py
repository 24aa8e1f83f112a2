"""The simulated connections between raylets and the head, and the head's process around its tables.

Used by `cluster` and `node`.  Both ends' counting and keeping (`raylet.head_line`, `head.peers`) is
the real code, and so is the database; what is simulated are sockets, time and the head's death.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from rayhpc.head.config import HeadFacts
from rayhpc.head.database import Database
from rayhpc.head.head import Head
from rayhpc.head.ledger import TABLES, Ledger
from rayhpc.head.membership import SILENT_S
from rayhpc.head.peers import Peers
from rayhpc.wire import codec, messages
from rayhpc.wire.address import Address, describe, raylet_of
from rayhpc.wire.messages import cluster

if TYPE_CHECKING:
    from .world import World

FACTS = HeadFacts("sim", "0", "3")
# What was sent within this time before a death may never have left the process.
LOSS_S = 0.0001
# So long it takes a raylet to notice that nothing comes any more (`raylet.head_line.SILENCE_MS`).
FORGOTTEN_S = (2.0, 3.0)
# So long the head takes to find out that a raylet's machine refuses connections.
PROBED_S = 0.02

_decode = codec.Decoder(messages.HEAD_TAKES)


class SimConnection:
    """One TCP connection: what is sent arrives in order, until an end dies or it breaks."""

    def __init__(self, world: World, head: SimHead, link: SimLink, name: bytes) -> None:
        self.world = world
        self.head = head
        self.link = link
        self.name = name
        # What is sent later, up or down, is lost.
        self.broken_at = {True: float("inf"), False: float("inf")}
        # What has arrived at the head's machine when it breaks, the head may read later.
        self._late = 0.0
        self._last = {True: 0.0, False: 0.0}

    def send(self, frame: bytes, up: bool) -> None:
        """Send to the head (`up`) or to the raylet."""
        world, sent = self.world, self.world.time
        arrival = sent + world.random.uniform(0.00002, world.delay)
        arrival = self._last[up] = max(arrival, self._last[up] + 1e-9)
        world.after(arrival - sent, lambda: self._read(frame, up, sent))
        if self.link.breaks() and not self.is_broken():
            self.reset()

    def is_broken(self) -> bool:
        """Whether it has broken, be it noticed or not."""
        return self.broken_at[True] < float("inf")

    def _read(self, frame: bytes, up: bool, sent: float) -> None:
        if up and self._late:
            self.world.after(self._late, lambda: self._arrive(frame, up, sent))
        else:
            self._arrive(frame, up, sent)

    def _arrive(self, frame: bytes, up: bool, sent: float) -> None:
        number = self.link.number
        way = (number, 0) if up else (0, number)
        cut = min(self.broken_at[up], self.link.cut_at) if up else self.broken_at[up]
        if sent > cut or self.world.is_losing(*way):
            return
        if not up:
            self.link.arrive(self, frame)
        elif self.head.alive:
            self.head.arrive(self, frame)

    def break_off(self) -> None:
        """The head has died: of what it sent last a part is lost; then the raylet notices."""
        cut = self.world.time - self.world.random.uniform(0, LOSS_S)
        self.broken_at = {up: min(cut, before) for up, before in self.broken_at.items()}
        self._tell_raylet(0.0)

    def reset(self) -> None:
        """It breaks, and both ends live: each loses what was on its way, and notices in its time.

        Where a firewall has forgotten the connection, only the raylet notices, by the silence; if
        that happens soon after another break, the node has no time left.
        """
        choose = self.world.random
        self.world.note(f"-- the connection of node {self.link.number} to the head breaks")
        for up in self.broken_at:
            lost_s = choose.choice((0.0, choose.uniform(0, self.world.delay)))
            self.broken_at[up] = self.world.time - lost_s
        before, self.link.broke_at = self.link.broke_at, self.world.time
        if choose.random() < 0.2 and self.world.time > before + SILENT_S:
            self._tell_raylet(choose.uniform(*FORGOTTEN_S))
            return
        self._late = choose.choice((0.0, 0.0, 0.3))
        self._tell_raylet(choose.choice((0.0, 0.01, 0.5)))
        end = max(self._last[True], self.world.time) - self.world.time + self._late
        wait = end + choose.choice((0.0, 0.01, 0.5)) + 1e-6
        self.world.after(wait, lambda: self.head.connection_lost(self))

    def _tell_raylet(self, wait: float) -> None:
        """The raylet notices, when it has read what has come."""
        end = max(self._last[False], self.world.time) - self.world.time
        self.world.after(end + wait + 1e-6, lambda: self.link.broken(self))


class SimLink:
    """A raylet's connections to the head, one after another (`raylet.head_line.Link`)."""

    def __init__(self, sim: Any, number: int, turn: Callable[[], None]) -> None:
        self._sim = sim
        self.number = number
        self._turn = turn
        self._came: deque[bytes] = deque()
        self._why = ""
        self._connection: SimConnection | None = None
        # When a connection last broke.
        self.broke_at = float("-inf")
        # A firewall lets none of its connections through any more.
        self.is_cut_off = False
        # What the raylet sent from then on has never left it.
        self.cut_at = float("inf")
        self.sockets = ()

    def redial(self) -> None:
        """Connect to the head that is there now, if any."""
        head = self._sim.server
        reaches = head.alive and not self.is_cut_off
        self._why = "" if reaches else "nothing listens there"
        self._connection = head.connect(self) if reaches else None
        if self._why:
            self._sim.world.after(1e-6, self._turn)

    def send_frame(self, frame: bytes) -> None:
        """Send, if connected."""
        if self._connection is not None:
            self._connection.send(frame, True)

    def receive(self) -> Iterator[bytes]:
        """What has come."""
        while self._came:
            yield self._came.popleft()

    def is_lost(self) -> bool:
        """Whether the connection has broken."""
        return bool(self._why)

    def why(self) -> str:
        """Why."""
        return self._why

    def breaks(self) -> bool:
        """Whether the connection breaks now."""
        share = self._sim.head_links_break
        return share > 0 and self._sim.world.random.random() < share

    def reset(self) -> None:
        """The connection breaks, if there is one."""
        if self._connection is not None and not self._connection.is_broken():
            self._connection.reset()

    def end(self) -> None:
        """The raylet is dead: of what it sent last a random part is lost."""
        self.cut_at = self._sim.world.time - self._sim.world.random.uniform(0, LOSS_S)

    def arrive(self, connection: SimConnection, frame: bytes) -> None:
        """A frame has come."""
        if connection is self._connection:
            self._came.append(frame)
            self._turn()

    def broken(self, connection: SimConnection) -> None:
        """The head is gone."""
        if connection is self._connection:
            self._connection, self._why = None, "the connection broke"
            self._turn()


class SimHead:
    """One life of the head.

    Args:
        world: its clock.
        folder: where its database is.
        resume: it takes over from an earlier life.
        dies_after: it is killed after so many messages more (None: never), before or after what
            follows from the last one is written.
        died: called when that has happened.
    """

    def __init__(self, world: World, folder: str, resume: bool) -> None:
        self.world = world
        self.alive = True
        self.dies_after: int | None = None
        self.died: Callable[[], None] = lambda: None
        self._database = Database(folder, TABLES, "sim", "0", resume=resume)
        ledger = Ledger(self._database)
        self.peers = Peers(self._transmit, ledger)
        self._connections: dict[bytes, SimConnection] = {}
        now, ties = world.now, random.Random(world.random.random())
        self.head = Head(
            FACTS, self.peers.send, now, now, ties, ledger=ledger, forget=self.peers.forget
        )
        self._timer = float("inf")
        self.settle()

    def connect(self, link: SimLink) -> SimConnection:
        """A raylet connects."""
        name = self.world.random.randbytes(8)
        self._connections[name] = made = SimConnection(self.world, self, link, name)
        return made

    def admit(self, link: SimLink, message: cluster.RegisterNode) -> cluster.Registered:
        """A node registers, and gets its answer at once."""
        welcome = self.head.join(message)
        assert isinstance(welcome, cluster.Registered), welcome
        link.number = welcome.number
        link.redial()
        assert link._connection is not None
        self.peers.welcome(link._connection.name, welcome)
        self.settle()
        return welcome

    def arrive(self, connection: SimConnection, frame: bytes) -> None:
        """A turn of its loop, as in `head.main`."""
        name, number = connection.name, self.peers.number_of(connection.name)
        if name not in self._connections:  # its kernel takes nothing from it
            return
        if number is not None:
            self.peers.count(number, frame)
        source, message = codec.source_of(frame), _decode(frame)
        self._note(source, message)
        if isinstance(message, cluster.RejoinNode):
            if self.peers.is_overtaken(message):
                return
            answer = self.head.rejoin(message, self.peers.received(message.number))
            if isinstance(answer, cluster.Rejoined):
                self.peers.resume(name, message, answer)
            else:
                self.peers.answer(name, answer, raylet_of(message.number))
        elif number is not None:
            if isinstance(message, cluster.Heartbeat):
                self.peers.confirm(number, message.received)
            self.head.handle(source, message)
        else:
            assert self.peers.is_replaced(name), "a real head would refuse it"
        if self._is_to_die():
            if self.world.random.random() < 0.5:
                self.head.advance()
                self.peers.flush()
            self.die()
            return
        self.settle()

    def _is_to_die(self) -> bool:
        if self.dies_after is None:
            return False
        self.dies_after -= 1
        return self.dies_after < 0

    def _note(self, source: Address, message: msgspec.Struct) -> None:
        if not isinstance(message, cluster.Heartbeat):
            self.world.note(f"{describe(source)} → head {message}")

    def _transmit(self, name: bytes, frame: bytes) -> None:
        connection = self._connections.get(name)
        if connection is not None:
            connection.send(frame, False)

    def connection_lost(self, connection: SimConnection) -> None:
        """It notices that a connection is gone."""
        if not self.alive or self._connections.pop(connection.name, None) is None:
            return
        number = self.peers.lost(connection.name)
        if number is not None:
            self.head.lost(number)
        self.settle()

    def raylet_died(self, number: int, *, is_refused: bool) -> None:
        """A raylet's connections end with it.

        `is_refused`: its machine says that nothing listens there any more, when it is asked.
        """
        for connection in list(self._connections.values()):
            if connection.link.number == number:
                self.connection_lost(connection)

        def refused() -> None:
            if self.alive:
                self.head.raylet_ended(number)
                self.settle()

        if is_refused:
            self.world.after(self.world.random.uniform(0, PROBED_S), refused)

    def die(self) -> None:
        """Be killed; what this turn would have written and sent is lost."""
        self.world.note("-- the head is killed")
        self.alive = False
        self._database.close()
        for connection in self._connections.values():
            connection.break_off()
        self.died()

    def close(self) -> None:
        """Give back what it has open."""
        if self.alive:
            self.alive = False
            self._database.close()

    def settle(self) -> None:
        """End a turn, and be called again when something is due."""
        if not self.alive:
            return
        self.head.advance()
        self.peers.flush()
        deadline = self.head.deadline()
        if deadline < self._timer - 1e-9:
            self._timer = deadline
            self.world.at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = float("inf")
        self.settle()
