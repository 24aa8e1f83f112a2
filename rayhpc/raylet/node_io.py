"""What a raylet's state machine needs from the outside world, beyond sending messages.

Implemented by `os_io` with real processes and sockets, and by tests with fakes.
"""

from __future__ import annotations

from typing import Protocol

from rayhpc.raylet import forkserver_messages as fork
from rayhpc.raylet.templates import ChannelLike
from rayhpc.raylet.workers import Spawner
from rayhpc.wire.address import Address, NodeNumber
from rayhpc.wire.messages.common import NodeInfo
from rayhpc.wire.messages.looking import LogPiece


class Slots(Protocol):
    """What workers record before they run something (`wire.slots.SlotTable`)."""

    count: int

    def read(self, index: int) -> tuple[bytes, list[bytes]]:
        """What was started last, and which results may not have been sent."""

    def clear(self, index: int) -> None:
        """Prepare a slot for its next worker."""


class NodeIO(Spawner, Protocol):
    """The raylet's actions on the outside world, beyond sending messages."""

    slots: Slots

    def make_template(self, wanted: fork.MakeTemplate) -> ChannelLike:
        """Start a template."""

    def read_output(self, number: int) -> None:
        """Deliver what a worker has printed by now."""

    def drain_output(self, number: int) -> None:
        """Deliver everything that a dead worker has printed."""

    def forget_process(self, address: Address) -> None:
        """A process of this node is gone: drop the route to it."""

    def forget_node(self, node: NodeNumber, reason: str) -> None:
        """Another node is gone: drop the route to it."""

    def learn_node(self, info: NodeInfo) -> None:
        """Another node has joined: this is the route to it."""

    def redial(self, node: NodeNumber) -> None:
        """The link to a node is broken: try once more to reach it."""

    def errors(self) -> tuple[int, str]:
        """How many errors have occurred inside the raylet, and the last one."""

    def read_log(self, start: int, size: int) -> LogPiece:
        """A piece of the node's log; its end, if `start` is below 0."""

    def heard_of_head(self) -> int:
        """How many counted messages of the head have come (`wire.numbered`)."""

    def wake(self) -> None:
        """Make the loop run once (from another thread)."""
