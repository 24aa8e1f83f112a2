"""The data plane as the object manager sees it (`wire.data_plane.DataPlane`, or a simulated one).

Used by `channels` (bytes received here) and `serving` (bytes that others have requested).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rayhpc.wire.address import NodeNumber
from rayhpc.wire.data_plane import Channel, Events, Offer
from rayhpc.wire.data_plane.sending import Span


class Plane(Protocol):
    """Moves bytes between arenas, outside the raylet's loop."""

    def attach(self, tell: Callable[[Callable[[], None]], None], events: Events) -> None:
        """Register who is told about channels; call this first."""

    def prepare(self) -> str:
        """Prepare to receive; returns why it cannot, or empty.  For a background thread."""

    def listen(self) -> str:
        """Prepare to send; returns why it cannot, or empty.  For a background thread."""

    def dial(self, node: NodeNumber, offer: Offer) -> None:
        """Accept an offer; `opened` or `closed` follows."""

    def expect(self, channel: Channel, token: int, start: int, length: int, offset: int) -> None:
        """Have a span's bytes put there when they arrive."""

    def forget(self, channel: Channel, token: int) -> None:
        """A span is no longer expected."""

    def moved(self, channel: Channel) -> int:
        """A number that changes whenever a channel has delivered something."""

    def hang_up(self, channel: Channel) -> None:
        """Close a channel into this node; `closed` follows."""

    def offer(self, node: NodeNumber) -> Offer:
        """Offer a channel to another node."""

    def leads_to(self, number: int) -> NodeNumber:
        """The node at the other end of an outgoing channel; 0: there is no such channel."""

    def send(self, number: int, span: Span) -> None:
        """Send a span; its bytes must stay until `sent` or `ended` follows."""

    def end(self, number: int) -> None:
        """Close an outgoing channel; `ended` follows."""

    def close(self) -> None:
        """End everything."""


class NoPlane:
    """A node without a data plane: everything goes over the control plane."""

    def attach(self, tell: Callable[[Callable[[], None]], None], events: Events) -> None:
        """There are no events."""

    def prepare(self) -> str:
        """It cannot receive."""
        return "this node has no data plane"

    listen = prepare

    def dial(self, node: NodeNumber, offer: Offer) -> None:
        """Never called: there is no channel."""

    def expect(self, channel: Channel, token: int, start: int, length: int, offset: int) -> None:
        """Never called: there is no channel."""

    def forget(self, channel: Channel, token: int) -> None:
        """Never called: there is no channel."""

    def moved(self, channel: Channel) -> int:
        """Nothing is ever delivered."""
        return -1

    def hang_up(self, channel: Channel) -> None:
        """There is no channel."""

    def offer(self, node: NodeNumber) -> Offer:
        """There is no channel to offer."""
        return Offer(text="it has no data plane")

    def leads_to(self, number: int) -> NodeNumber:
        """There is no channel."""
        return 0

    def send(self, number: int, span: Span) -> None:
        """Never called: there is no channel."""

    def end(self, number: int) -> None:
        """There is no channel."""

    def close(self) -> None:
        """There is no channel."""
