"""A seeded world: one clock, one queue of events, a network that delays but keeps the order.

Used by the other modules of `tests/sim`.  Everything random comes from one generator, so a seed
replays exactly.  Every message is encoded, and decoded by the role that receives it, as on a real
socket.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

import msgspec

from rayhpc.wire import codec, sockets
from rayhpc.wire.address import (
    HEAD,
    Address,
    NodeNumber,
    describe,
    node_of,
    process_of,
    raylet_of,
)
from rayhpc.wire.messages.cluster import HeadAlive, Heartbeat, View
from rayhpc.wire.windows import WINDOW_BYTES

from .direct import DirectNet

# What comes all the time, and tells nothing in a report.
_BEATS = (HeadAlive, Heartbeat, View)
# What was sent within this time before a death may never have left the process.
LOSS_S = 0.0001
# Two nodes reach each other at the latest after this time.
DIAL_S = 0.05
EVENTS_MAX = 1_000_000
Receive = Callable[[Address, Any], None]


class Stuck(AssertionError):
    """Nothing more can happen, or the time is over, and what was waited for has not come."""


class World:
    """The clock, the events and the network of one simulated cluster.

    Args:
        seed: decides everything.
        delay: the longest a message takes, in seconds.
    """

    def __init__(self, seed: int, delay: float = 0.002) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.time = 1000.0
        self.delay = delay
        self.log: list[str] = []
        # Every start of a task or call: (worker, task, attempt).
        self.ran: list[tuple[Address, bytes, int]] = []
        # What calls of `programs.note` have noted: (actor's process, key, number).
        self.noted: list[tuple[Address, int, int]] = []
        self.happened = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._receivers: dict[Address, tuple[codec.Decoder, Receive]] = {}
        self._last: dict[tuple[Address, Address], float] = {}
        # When somebody died, and from when on it was not heard: by each receiver apart.
        self._died: dict[Address, float] = {}
        self._cut: dict[tuple[Address, Address], float] = {}
        # How many bytes may be on their way from one process to another: what is usual, or so few
        # that windows are full all the time.
        self.window = self.random.choice((WINDOW_BYTES, 2000, 300))
        # (source, destination) → bytes sent and not delivered; the most there ever were.
        self._under_way: dict[tuple[Address, Address], int] = {}
        self.most_under_way = 0
        # Who does not read, and what has come for it: (frame, how it was received).
        self._stopped: dict[Address, list[Callable[[], None]]] = {}
        # Bytes of the frame that is being delivered.
        self.frame_size = 0
        self.direct = DirectNet(self)
        self._links: dict[frozenset[NodeNumber], float] = {}
        self._severed: set[frozenset[NodeNumber]] = set()
        # Links that are broken, and when there will be others.
        self._whole_at: dict[frozenset[NodeNumber], float] = {}
        self._losing: set[tuple[NodeNumber, NodeNumber]] = set()
        # (source, destination) → what the source's raylet answers for a destination that is gone.
        # Takes what raylets pass on to the head: the line between them is `line.SimLink`.
        self.to_head: Callable[[NodeNumber, bytes], None] = lambda number, frame: None
        self.answer_for: Callable[[Address, Address], msgspec.Struct | None] = lambda s, d: None

    def now(self) -> float:
        """Seconds on the world's clock."""
        return self.time

    # -- events -----------------------------------------------------------------------------------
    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._events, (self.time + seconds, self._count, action))

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Have something happen just after a moment, as a real clock would have it."""
        self.after(max(0.0, moment - self.time) + 1e-7, action)

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Let things happen until `until()`.

        Raises:
            Stuck: `limit` seconds of the world's time have passed first.
        """
        end = self.time + limit
        while not until():
            if not self._events or self._events[0][0] > end:
                raise Stuck(f"seed {self.seed}: not done after {limit} s\n" + self.tail())
            self._happen()

    def run_for(self, seconds: float) -> None:
        """Let things happen for some time."""
        end = self.time + seconds
        while self._events and self._events[0][0] <= end:
            self._happen()
        self.time = end

    def _happen(self) -> None:
        self.happened += 1
        if self.happened > EVENTS_MAX:
            raise Stuck(f"seed {self.seed}: something goes round and round\n" + self.tail())
        self.time, _, action = heapq.heappop(self._events)
        action()

    # -- the network ------------------------------------------------------------------------------
    def join(self, address: Address, takes: Any, receive: Receive) -> None:
        """Somebody can be sent messages from now on; `takes` are the types it accepts."""
        self._receivers[address] = (codec.Decoder(takes), receive)

    def leave(self, address: Address) -> None:
        """Somebody is dead: nothing reaches it, and of what it sent last a random part is lost."""
        self._receivers.pop(address, None)
        self.direct.leave(address)
        self._died[address] = self.time

    def is_losing(self, source: NodeNumber, destination: NodeNumber) -> bool:
        """Whether everything from one node to another gets lost."""
        return (source, destination) in self._losing

    def is_there(self, address: Address) -> bool:
        """Whether somebody with this address takes part."""
        return address in self._receivers

    def sever(self, one: NodeNumber, other: NodeNumber) -> None:
        """Cut the link between two nodes: nothing passes from now on, on either way."""
        self._severed.add(frozenset((one, other)))

    def interrupt(self, one: NodeNumber, other: NodeNumber, seconds: float) -> None:
        """Break the link between two nodes; what is on its way comes over the next one."""
        up = self.time + seconds
        nodes = frozenset((one, other))
        self._links[nodes] = self._whole_at[nodes] = max(up, self._links.get(nodes, up))

    def lose(self, source: NodeNumber, destination: NodeNumber) -> None:
        """Lose everything from one node to another from now on, on this way alone."""
        self._losing.add((source, destination))

    def stop(self, address: Address) -> None:
        """Somebody does not read from now on, as a process that holds its interpreter's lock."""
        self._stopped[address] = []

    def go_on(self, address: Address) -> None:
        """It reads again, all that has come meanwhile."""
        for read in self._stopped.pop(address):
            read()

    def when_it_reads(self, address: Address, read: Callable[[], None]) -> None:
        """Have somebody read something: now, or when it goes on."""
        if address in self._stopped:
            self._stopped[address].append(read)
        else:
            read()

    def send(self, source: Address, destination: Address, message: msgspec.Struct) -> None:
        """Put a message on its way: within a node direct, else by way of the raylets."""
        self.transmit(source, destination, codec.encode(destination, source, message))

    def transmit(self, source: Address, destination: Address, frame: bytes) -> None:
        """Put a frame on its way, if it is one that a real socket would take."""
        sockets.check_frame(frame)
        if process_of(source) and process_of(destination):
            pair = (source, destination)
            self._under_way[pair] = now = self._under_way.get(pair, 0) + len(frame)
            self.most_under_way = max(self.most_under_way, now)
        self._hop(source, destination, frame)

    def _hop(self, at: Address, destination: Address, frame: bytes) -> None:
        to = _next(at, destination)
        pair = (at, to)
        arrival = self._link_up(at, to) + self.random.uniform(0.00002, self.delay)
        arrival = self._last[pair] = max(arrival, self._last.get(pair, 0.0) + 1e-9)
        sent = self.time
        self.after(arrival - self.time, lambda: self._arrive(at, to, destination, frame, sent))

    def _link_up(self, at: Address, to: Address) -> float:
        """When a frame can set out: the first between two nodes waits until these have dialled."""
        nodes = frozenset((node_of(at), node_of(to)))
        if len(nodes) == 1 or 0 in nodes:
            return self.time
        up = self._links.get(nodes)
        if up is None:
            up = self._links[nodes] = self.time + self.random.uniform(0, DIAL_S)
        return max(up, self.time)

    def _arrive(
        self, at: Address, to: Address, destination: Address, frame: bytes, sent: float
    ) -> None:
        found = self._receivers.get(to)
        if found is None or self._is_lost(at, to, sent):
            return
        way = node_of(at), node_of(to)
        whole_at = self._whole_at.get(frozenset(way), 0.0)
        if whole_at > self.time:
            # In the order in which it would have come, and before all that set out later.
            self.at(whole_at, lambda: self._arrive(at, to, destination, frame, sent))
            return
        if frozenset(way) in self._severed or way in self._losing:
            return
        if to == destination:
            self.when_it_reads(to, lambda: self._deliver(frame, *found))
            return
        if destination == HEAD:
            self.to_head(node_of(to), frame)
            return
        source = codec.source_of(frame)
        answer = self.answer_for(source, destination)
        if answer is None:
            self._hop(to, destination, frame)
        else:
            self.send(to, source, answer)

    def _is_lost(self, at: Address, to: Address, sent: float) -> bool:
        """Whether it had not left its sender when that died."""
        died = self._died.get(at)
        if died is None:
            return False
        if (at, to) not in self._cut:
            self._cut[at, to] = died - self.random.uniform(0, LOSS_S)
        return sent > self._cut[at, to]

    def _deliver(self, frame: bytes, decode: codec.Decoder, receive: Receive) -> None:
        source = codec.source_of(frame)
        message = decode(frame)
        self.frame_size = len(frame)
        pair = (source, codec.destination_of(frame))
        if pair in self._under_way:
            self._under_way[pair] -= len(frame)
        if type(message) not in _BEATS:
            destination = codec.destination_of(frame)
            self.note(f"{describe(source)} → {describe(destination)} {message}")
        receive(source, message)

    # -- the log ----------------------------------------------------------------------------------
    def note(self, text: str) -> None:
        """Remember what happened, for the report of a failing seed."""
        self.log.append(f"{self.time:.6f} {text[:200]}")
        if len(self.log) > 4000:
            del self.log[:2000]

    def tail(self, count: int = 60) -> str:
        """The last things that happened."""
        return "\n".join(self.log[-count:])


def _next(at: Address, destination: Address) -> Address:
    """Where a frame that is at `at` goes next."""
    node, there = node_of(at), node_of(destination)
    if node == there:
        return destination
    if process_of(at):
        return raylet_of(node)
    return raylet_of(there) if there else destination
