"""What the object store reports about itself: rows for `list_objects`, and what fills it.

Used by `manager`.  Read-only.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.memory import Memory
from rayhpc.raylet.objects.spill import Spiller
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.wire.address import Address, ObjectId, describe, owner_of
from rayhpc.wire.messages.listings import ObjectRow

_HOLDERS = 5
_PINNERS = 3


class Report:
    """Describes one node's store.

    Args:
        pid_of: the pid of a process of this node, 0 if unknown.
    """

    def __init__(
        self,
        node: int,
        table: ObjectTable,
        memory: Memory,
        spiller: Spiller,
        pid_of: Callable[[Address], int],
    ) -> None:
        self._node = node
        self._table = table
        self._memory = memory
        self._spiller = spiller
        self._pid_of = pid_of

    def rows(self, limit: int) -> list[ObjectRow]:
        """At most `limit` objects: those being written, then the sealed ones, oldest first."""
        rows = []
        for oid, writers in self._table.writing.items():
            for process, writing in writers.items():
                pid = self._pid_of(process)
                rows.append(ObjectRow(oid, writing.size, "writing", self._node, pid))
        readers = self._readers()
        for oid, obj in self._table.objects.items():
            if len(rows) >= limit:
                break
            pid = self._pid_of(readers[oid][0]) if oid in readers else 0
            kind = "primary" if obj.primary else "copy"
            state = _state(obj)
            rows.append(ObjectRow(oid, obj.size, kind, self._node, pid, state, count=obj.pins))
        return rows[:limit]

    def full(self, size: int) -> str:
        """Why there is no room for `size` bytes, what fills the store, and what to do."""
        used, capacity = self._memory.used, self._memory.capacity
        if size > self._memory.size:
            return (
                f"A value of {_bytes(size)} is larger than this node's whole object store "
                f"({_bytes(self._memory.size)}), and no disk has room for it "
                f"({self._spiller.problem}). Start the node with a larger object_store_memory "
                "(--object-store-memory), make room on its disk, or split the value."
            )
        lines = [
            f"The object store of node {self._node} has no room for {_bytes(size)}:",
            f"{_bytes(used)} of {_bytes(capacity)} are in use, and what could go has gone.",
        ]
        if self._memory.starved:
            lines.append("The machine (or its cgroup) has no more memory to give to the store.")
        if self._spiller.problem:
            lines.append(f"Spilling to disk does not help: {self._spiller.problem}.")
        lines += ["Its largest holders:", *self._holders()]
        lines.append(
            "Delete references and arrays that are no longer needed (an array on a stored object "
            "keeps its memory), get less at a time, or start the node with a larger "
            "object_store_memory."
        )
        return "\n".join(lines)

    def _holders(self) -> list[str]:
        inside = [obj for obj in self._table.objects.values() if obj.offset >= 0]
        readers = self._readers()
        found = [
            (obj.size, f"{self._who(obj.oid)}, {self._why(readers.get(obj.oid, []))}")
            for obj in heapq.nlargest(_HOLDERS, inside, key=lambda obj: obj.size)
        ]
        for oid, writers in self._table.writing.items():
            for process, writing in writers.items():
                text = f"{self._who(oid)}, being written by {self._name(process)}"
                found.append((writing.size, text))
        largest = heapq.nlargest(_HOLDERS, found, key=lambda pair: pair[0])
        return [f"  {_bytes(size):>10}  {text}" for size, text in largest]

    def _who(self, oid: ObjectId) -> str:
        return f"object {oid.hex()} owned by {self._name(owner_of(oid))}"

    def _why(self, readers: list[Address]) -> str:
        if not readers:
            return "not in use (its owner still refers to it)"
        names = ", ".join(self._name(process) for process in readers[:_PINNERS])
        more = len(readers) - _PINNERS
        return f"in use by {names}" + (f" and {more} more" if more > 0 else "")

    def _name(self, process: Address) -> str:
        pid = self._pid_of(process)
        return f"{describe(process)} (pid {pid})" if pid else describe(process)

    def _readers(self) -> dict[ObjectId, list[Address]]:
        readers: dict[ObjectId, list[Address]] = {}
        for process, pinned in self._table.pins.items():
            for oid in pinned:
                readers.setdefault(oid, []).append(process)
        return readers


def _state(obj: LocalObject) -> str:
    if obj.doomed:
        return "freed, in use"
    if obj.offset < 0:
        return "on disk, in use" if obj.pins else "on disk"
    return "in use" if obj.pins else "in memory"


def _bytes(size: int) -> str:
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
