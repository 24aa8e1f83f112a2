"""Sends workers' output on this node to their drivers, but no more than these accept.

Used by `os_io`, which has the lines, and by `node`, which hears what drivers have printed.  A
driver that is stopped, or slower than its workers, neither holds anyone up nor fills anyone's
memory: excess lines are dropped, and a note says so.  The node's log has every line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from rayhpc.wire.address import Address
from rayhpc.wire.messages.leases import LinesTaken, LogLines

# This many characters may be in flight to a driver: what workers that print continuously produce
# in a third of a second.
WINDOW = 8 << 20

Send = Callable[[Address, msgspec.Struct], None]


@dataclass
class _Window:
    """Characters that a driver has not acknowledged yet, and the lines dropped since."""

    open: int = 0
    left_out: int = 0


class Output:
    """The lines in flight to the drivers.

    Args:
        node_ip: this node's address in printed form.
        send: sends a message.
    """

    def __init__(self, node_ip: str, send: Send) -> None:
        self._node_ip = node_ip
        self._send = send
        self._windows: dict[Address, _Window] = {}

    def pass_on(self, driver: Address, message: LogLines) -> None:
        """Send lines to a driver, unless too many are already in flight."""
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
