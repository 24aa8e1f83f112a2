"""What the object manager asks of the data plane (`wire.data_plane.DataPlane`, or a simulation's).

Used by `channels` (bytes that come here) and `serving` (bytes that others have asked for).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rayhpc.wire.address import NodeNumber
from rayhpc.wire.data_plane import Channel, Events, Offer
from rayhpc.wire.data_plane.sending import Span


class Plane(Protocol):
    """Moves bytes between arenas, apart from the raylet's loop."""

    def attach(self, tell: Callable[[Callable[[], None]], None], events: Events) -> None:
        """Say who hears of channels, and how; before anything else."""

    def prepare(self) -> str:
        """Make ready to receive; why that cannot be, or nothing.  For a background thread."""

    def listen(self) -> str:
        """Make ready to send; why that cannot be, or nothing.  For a background thread."""

    def dial(self, node: NodeNumber, offer: Offer) -> None:
        """Take an offer up; `opened` or `closed` follows."""

    def expect(self, channel: Channel, token: int, start: int, length: int, offset: int) -> None:
        """Have a span's bytes put there when they come."""

    def forget(self, channel: Channel, token: int) -> None:
        """A span will not come."""

    def moved(self, channel: Channel) -> int:
        """A number that changes whenever something has come over a channel."""

    def hang_up(self, channel: Channel) -> None:
        """Close a channel that leads here; `closed` follows."""

    def offer(self, node: NodeNumber) -> Offer:
        """A channel for another node."""

    def leads_to(self, number: int) -> NodeNumber:
        """The node at the other end of a channel of ours; 0: there is no such channel."""

    def send(self, number: int, span: Span) -> None:
        """Send a span; `sent` or `ended` follows, until when its bytes must stay."""

    def end(self, number: int) -> None:
        """Close a channel of ours; `ended` follows."""

    def close(self) -> None:
        """End everything."""


class NoPlane:
    """A node without: everything goes over the control plane."""

    def attach(self, tell: Callable[[Callable[[], None]], None], events: Events) -> None:
        """Nothing will be heard."""

    def prepare(self) -> str:
        """It never is."""
        return "this node has no data plane"

    listen = prepare

    def dial(self, node: NodeNumber, offer: Offer) -> None:
        """Never asked to."""

    def expect(self, channel: Channel, token: int, start: int, length: int, offset: int) -> None:
        """Never asked to."""

    def forget(self, channel: Channel, token: int) -> None:
        """Never asked to."""

    def moved(self, channel: Channel) -> int:
        """Nothing has."""
        return -1

    def hang_up(self, channel: Channel) -> None:
        """Nothing to close."""

    def offer(self, node: NodeNumber) -> Offer:
        """There is none."""
        return Offer(text="it has no data plane")

    def leads_to(self, number: int) -> NodeNumber:
        """Nowhere."""
        return 0

    def send(self, number: int, span: Span) -> None:
        """Never asked to."""

    def end(self, number: int) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to end."""
