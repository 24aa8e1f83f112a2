"""Who wants to be told when which process of this node ends (`Watch`, `Died`).

Used by `node`.  A process that is unknown here has ended: its watcher is told at once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.wire.address import Address, NodeNumber, node_of
from rayhpc.wire.messages import leases


class Watches:
    """All watches on this node's processes.

    Args:
        send: sends a message.
        is_alive: whether a process of this node is alive.
    """

    def __init__(
        self, send: Callable[[Address, msgspec.Struct], None], is_alive: Callable[[Address], bool]
    ) -> None:
        self._send = send
        self._is_alive = is_alive
        self._watchers: dict[Address, dict[Address, None]] = {}

    def on_watch(self, message: leases.Watch) -> None:
        """Register a watcher for a process's end."""
        if self._is_alive(message.target):
            self._watchers.setdefault(message.target, {})[message.watcher] = None
        else:
            self._send(message.watcher, leases.Died(message.target, "it has ended"))

    def on_died(self, target: Address, reason: str) -> None:
        """A process has ended: notify its watchers, and drop its own watches."""
        for watcher in self._watchers.pop(target, ()):
            self._send(watcher, leases.Died(target, reason))
        for watchers in self._watchers.values():
            watchers.pop(target, None)

    def on_node_gone(self, node: NodeNumber) -> None:
        """All watchers on that node are gone."""
        for watchers in self._watchers.values():
            for watcher in [x for x in watchers if node_of(x) == node]:
                del watchers[watcher]
