"""What this node's workers print, on its way to their drivers, and not more than these take.

Used by `os_io`, which has the lines, and by `node`, which hears what drivers have taken.  A driver
that is stopped, or slower than its workers, holds up nobody and fills nobody's memory: what is too
much is left out, and that is said.  The node's log has every line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from rayhpc.wire.address import Address
from rayhpc.wire.messages.leases import LinesTaken, LogLines

# So many characters may be on their way to a driver: what workers that print without a pause
# print in a third of a second.
WINDOW = 8 << 20

Send = Callable[[Address, msgspec.Struct], None]


@dataclass
class _Window:
    """Characters that one driver has not taken yet, and lines that were left out since."""

    open: int = 0
    left_out: int = 0


class Output:
    """The lines that are on their way to the drivers.

    Args:
        node_ip: this node's address, as it is printed.
        send: puts a message on its way.
    """

    def __init__(self, node_ip: str, send: Send) -> None:
        self._node_ip = node_ip
        self._send = send
        self._windows: dict[Address, _Window] = {}

    def pass_on(self, driver: Address, message: LogLines) -> None:
        """Send a driver lines, unless it has too many to take already."""
        window = self._windows.setdefault(driver, _Window())
        if window.open >= WINDOW:
            window.left_out += len(message.lines)
            return
        window.open += message.size
        self._send(driver, message)

    def on_taken(self, driver: Address, message: LinesTaken) -> None:
        """A driver has printed some."""
        window = self._windows.get(driver)
        if window is None:
            return
        window.open -= message.size
        if window.left_out and window.open < WINDOW:
            text = (
                f"{window.left_out:,} lines of workers are left out here: this program was too "
                "slow to print them; the node's log has them."
            )
            window.left_out = 0
            self.pass_on(driver, LogLines(os.getpid(), self._node_ip, "raylet", True, [text]))

    def forget(self, driver: Address) -> None:
        """A driver has ended."""
        self._windows.pop(driver, None)
