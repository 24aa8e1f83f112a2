"""Processes that watch actors and placement groups.

Used by `actors` and `groups`.  Only keeps the lists; notifying is up to them.  Something may be
watched long before it exists: its creator registers an actor only once the constructor's
arguments are ready.  So what is not known yet is *expected* for as long as its creator lives.
"""

from __future__ import annotations

from rayhpc.head.ledger import NUMBER_BYTES, Ledger, number_key, number_of
from rayhpc.wire.address import Address, NodeNumber, node_of, owner_of


class Watchers:
    """The watchers of one kind of thing.

    Args:
        ledger: keeps them.
        table: in this table.
    """

    def __init__(self, ledger: Ledger, table: str) -> None:
        self._ledger = ledger
        self._table = table
        self._of: dict[bytes, dict[Address, None]] = {}
        self._by_node: dict[NodeNumber, dict[Address, set[bytes]]] = {}
        self._expected: dict[NodeNumber, dict[Address, set[bytes]]] = {}
        for key, _ in ledger.rows(table):
            self.add(key[:-NUMBER_BYTES], number_of(key[-NUMBER_BYTES:]))

    def subjects(self) -> list[bytes]:
        """Everything that is watched."""
        return list(self._of)

    def add(self, subject: bytes, watcher: Address) -> None:
        """`watcher` wants to be told about `subject`."""
        self._of.setdefault(subject, {})[watcher] = None
        on_node = self._by_node.setdefault(node_of(watcher), {})
        on_node.setdefault(watcher, set()).add(subject)
        self._ledger.put(self._table, subject + number_key(watcher), b"")

    def of(self, subject: bytes) -> list[Address]:
        """The watchers of a subject."""
        return list(self._of.get(subject, ()))

    def forget(self, subject: bytes) -> None:
        """There will be nothing more to report about it."""
        for watcher in self._of.pop(subject, ()):
            self._by_node[node_of(watcher)][watcher].discard(subject)
            self._ledger.drop(self._table, subject + number_key(watcher))

    # -- subjects not known yet -------------------------------------------------------------------
    def expect(self, subject: bytes) -> None:
        """It is not known yet; its creator is alive."""
        creator = owner_of(subject)
        self._expected.setdefault(node_of(creator), {}).setdefault(creator, set()).add(subject)

    def came(self, subject: bytes) -> None:
        """It is known from now on."""
        creator = owner_of(subject)
        on_node = self._expected.get(node_of(creator), {})
        expected = on_node.get(creator, set())
        expected.discard(subject)
        if creator in on_node and not expected:
            del on_node[creator]

    # -- deaths -----------------------------------------------------------------------------------
    def process_gone(self, address: Address) -> list[bytes]:
        """A process has ended, and its watches; returns the subjects that will never come."""
        on_node = self._by_node.get(node_of(address))
        if on_node is not None:
            self._drop(address, on_node.pop(address, set()))
        return list(self._expected.get(node_of(address), {}).pop(address, ()))

    def node_gone(self, number: NodeNumber) -> list[bytes]:
        """The same for every process of a node."""
        for watcher, subjects in self._by_node.pop(number, {}).items():
            self._drop(watcher, subjects)
        return [x for expected in self._expected.pop(number, {}).values() for x in expected]

    def _drop(self, watcher: Address, subjects: set[bytes]) -> None:
        for subject in subjects:
            watchers = self._of[subject]
            del watchers[watcher]
            self._ledger.drop(self._table, subject + number_key(watcher))
            if not watchers:
                del self._of[subject]
