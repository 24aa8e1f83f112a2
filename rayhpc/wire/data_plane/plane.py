"""One node's data plane: its listener, and the channels from and to other nodes.

Made by the raylet's `main`, used by its object manager from the raylet's own thread.  Everything
slow happens in other threads; their events come back through `tell`, in order.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rayhpc.store.arena import Arena
from rayhpc.wire.address import NodeNumber
from rayhpc.wire.data_plane import sealing
from rayhpc.wire.data_plane.listening import TICKET_S, Listener, Ticket
from rayhpc.wire.data_plane.receiving import Receiver
from rayhpc.wire.data_plane.sending import Sender, Span
from rayhpc.wire.sockets import PortRange

# A channel that leads here: the node it comes from, and that node's number for it.
Channel = tuple[NodeNumber, int]

# Default number of channels out of a node and into it; each costs a thread and a descriptor.
CHANNELS_MAX = 32


@dataclass(frozen=True, slots=True)
class Offer:
    """How to dial a node for one channel; no endpoints: it cannot be dialled, `text` says why."""

    channel: int = 0
    endpoints: list[tuple[str, int]] = field(default_factory=list)
    ticket: bytes = field(default=b"", repr=False)
    up: bytes = field(default=b"", repr=False)
    down: bytes = field(default=b"", repr=False)
    text: str = ""


class Events(Protocol):
    """Receives the events of channels (called in the raylet's thread)."""

    def opened(self, channel: Channel, /) -> None:
        """A channel that was dialled can be used."""

    def arrived(self, channel: Channel, token: int, edition: int, /) -> None:
        """A span has arrived."""

    def closed(self, channel: Channel, why: str, /) -> None:
        """A channel is closed (`why` empty: normally); it writes nothing here any more."""

    def sent(self, number: int, token: int, /) -> None:
        """A span of ours has been sent."""

    def ended(self, number: int, /) -> None:
        """A channel of ours has ended; it reads nothing here any more."""


class DataPlane:
    """One node's.

    Args:
        arena: the node's store.
        ips: the addresses to listen on, best first.
        ports: first and last port to listen on (None: the system's choice).
        channels: the most channels into the node, and out of it.
    """

    def __init__(
        self, arena: Arena, ips: list[str], ports: PortRange, channels: int = CHANNELS_MAX
    ) -> None:
        self._arena = arena
        self._ips = ips
        self._ports = ports
        self._channels = channels
        self._tell: Callable[[Callable[[], None]], None] = lambda action: action()
        self._events: Events | None = None
        self._numbers = itertools.count(1)
        self._listener: Listener | None = None
        self._endpoints: list[tuple[str, int]] = []
        self._problem = ""
        self._receivers: dict[Channel, Receiver] = {}
        self._senders: dict[int, Sender] = {}
        self._promised: dict[int, float] = {}
        self._closed = False

    def attach(self, tell: Callable[[Callable[[], None]], None], events: Events) -> None:
        """Set who receives events, and how threads call it; before anything else."""
        self._tell = tell
        self._events = events

    # -- in a background thread --------------------------------------------------------------------
    def prepare(self) -> str:
        """Prepare to receive; returns why that is impossible, or an empty text."""
        return sealing.problem()

    def listen(self) -> str:
        """Prepare to send; returns why that is impossible, or an empty text."""
        problem = sealing.problem()
        if problem or self._listener is not None:
            return problem
        listener = Listener(lambda ticket, sock: self._tell(lambda: self._admit(ticket, sock)))
        try:
            self._endpoints = listener.listen(self._ips, self._ports)
        except OSError as error:
            return error.strerror or str(error)
        if self._closed:
            listener.close()
        else:
            self._listener = listener
        return ""

    # -- receiving ---------------------------------------------------------------------------------
    def dial(self, node: NodeNumber, offer: Offer) -> None:
        """Dial the node of an offer; `opened` or `closed` follows."""
        channel = (node, offer.channel)
        if len(self._receivers) >= self._channels:
            self._say(lambda events: events.closed(channel, "there are too many channels here"))
            return
        receiver = self._receivers[channel] = Receiver(
            self._arena,
            offer.endpoints,
            offer.ticket,
            offer.up,
            offer.down,
            opened=lambda: self._say(lambda events: events.opened(channel)),
            arrived=lambda token, edition: self._say(
                lambda events: events.arrived(channel, token, edition)
            ),
            closed=lambda why: self._tell(lambda: self._on_closed(channel, why)),
        )
        receiver.start()

    def expect(self, channel: Channel, token: int, start: int, length: int, offset: int) -> None:
        """Say where a span's bytes go when they arrive; call before asking for them."""
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver.expect(token, start, length, offset)

    def forget(self, channel: Channel, token: int) -> None:
        """Stop expecting a span: its source has said that it will not come."""
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver.forget(token)

    def moved(self, channel: Channel) -> int:
        """A number that changes whenever something has arrived over a channel."""
        receiver = self._receivers.get(channel)
        return -1 if receiver is None else receiver.moved

    def hang_up(self, channel: Channel) -> None:
        """Close a channel that leads here; `closed` follows."""
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver.close()

    # -- sending -----------------------------------------------------------------------------------
    def offer(self, node: NodeNumber) -> Offer:
        """Offer another node a channel, which it has TICKET_S to dial."""
        now = time.monotonic()
        self._promised = {n: until for n, until in self._promised.items() if until > now}
        if self._listener is None:
            return Offer(text="it does not listen")
        if len(self._senders) + len(self._promised) >= self._channels:
            return Offer(text="it has too many channels already")
        ticket = Ticket(next(self._numbers), node, now + TICKET_S)
        self._promised[ticket.number] = ticket.until
        self._listener.expect(ticket)
        return Offer(ticket.number, self._endpoints, ticket.secret, ticket.up, ticket.down)

    def leads_to(self, number: int) -> NodeNumber:
        """The node at the other end of a channel of ours; 0: there is no such channel."""
        sender = self._senders.get(number)
        return 0 if sender is None else sender.node

    def send(self, number: int, span: Span) -> None:
        """Send a span; its bytes must stay until `sent` or `ended` follows."""
        self._senders[number].send(span)

    def end(self, number: int) -> None:
        """Close a channel of ours; `ended` follows."""
        sender = self._senders.get(number)
        if sender is not None:
            sender.close()

    def close(self) -> None:
        """End everything, and wait a little for the threads."""
        self._closed = True
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        ends: list[Sender | Receiver] = [*self._senders.values(), *self._receivers.values()]
        for each in ends:
            each.close()
        for each in ends:
            each.join()
        self._tell = _say_nothing  # a thread that is dialling may still report something

    # -- details -----------------------------------------------------------------------------------
    def _admit(self, ticket: Ticket, sock: socket.socket) -> None:
        self._promised.pop(ticket.number, None)
        if self._closed:
            sock.close()
            return
        number = ticket.number
        sender = self._senders[number] = Sender(
            self._arena,
            ticket,
            sock,
            sent=lambda token: self._say(lambda events: events.sent(number, token)),
            ended=lambda why: self._tell(lambda: self._on_ended(number)),
        )
        sender.start()

    def _on_closed(self, channel: Channel, why: str) -> None:
        del self._receivers[channel]
        self._say_now(lambda events: events.closed(channel, why))

    def _on_ended(self, number: int) -> None:
        del self._senders[number]
        self._say_now(lambda events: events.ended(number))

    def _say(self, what: Callable[[Events], None]) -> None:
        self._tell(lambda: self._say_now(what))

    def _say_now(self, what: Callable[[Events], None]) -> None:
        if self._events is not None:
            what(self._events)


def _say_nothing(_: Callable[[], None]) -> None:
    """Discard an event: nobody receives it any more."""
