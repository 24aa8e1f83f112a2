"""How many tasks of this node's processes wait for a worker, as each of them reports it.

Used by `node` and `deaths`; read by `reporting`.  A task is counted on its owner's node, wherever
the owner's requests for leases wait.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rayhpc.wire.address import Address
from rayhpc.wire.messages import leases
from rayhpc.wire.messages.common import Resources, Strategy


class Backlogs:
    """What the processes of one node have reported.

    Args:
        is_alive: whether a process of this node is alive.

    Attributes:
        version: changes with every change.
    """

    def __init__(self, is_alive: Callable[[Address], bool]) -> None:
        self.version = 0
        self._is_alive = is_alive
        self._reported: dict[Address, dict[bytes, leases.ClassBacklog]] = {}

    def on_backlog(self, source: Address, message: leases.Backlog) -> None:
        """A process reports what has changed."""
        if not self._is_alive(source):
            return
        mine = self._reported.setdefault(source, {})
        for each in message.changed:
            kind = msgspec.msgpack.encode(each.wanted)
            if each.count > 0:
                mine[kind] = each
            else:
                mine.pop(kind, None)
        if not mine:
            del self._reported[source]
        self.version += 1

    def on_process_gone(self, address: Address) -> None:
        """A process has ended: its tasks wait no longer."""
        if self._reported.pop(address, None) is not None:
            self.version += 1

    def demand(self) -> list[tuple[Resources, int, str, Strategy]]:
        """What waits: resources, number of tasks, reason, and where they may run."""
        found: dict[bytes, tuple[Resources, int, str, Strategy]] = {}
        for mine in self._reported.values():
            for each in mine.values():
                resources, strategy = each.wanted.resources, each.wanted.strategy
                reason = each.reason or _why(strategy)
                key = msgspec.msgpack.encode((sorted(resources.items()), reason, strategy))
                before = found[key][1] if key in found else 0
                found[key] = (resources, before + each.count, reason, strategy)
        return list(found.values())


def _why(strategy: Strategy) -> str:
    """The general reason why tasks wait."""
    if strategy.kind == "group":
        return "waits for its placement group"
    return "all nodes that could serve it are in use"
