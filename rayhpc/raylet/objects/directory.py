"""Where the objects owned by this node's processes are, in the whole cluster.

Used by `manager`.  Answers other raylets (and our own) without the owner as long as it knows a
copy; asks the owner if it knows none.  Tells the owner when the last copy is gone.

It keeps no entry for objects that are only here, of the first attempt of their task: the table
knows them.  Only copies of the latest attempt that it has heard of count, be it from the owner
(before the task runs again) or from a raylet; others are dropped.  Large objects are handed to at
most two pullers per copy at a time, so that a broadcast spreads as a tree instead of draining one
node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rayhpc.raylet.objects import spill
from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.wire.address import Address, NodeNumber, ObjectId, id_prefix, node_of, owner_of
from rayhpc.wire.messages import objects

_PULLERS_PER_COPY = 2
# From this size on, pullers take turns; a turn ends with the copy, or after about this long.
_TURNS_FROM = 4 * 2**20
_TURN_SECONDS, _TURN_BYTES_PER_SECOND = 2.0, 200e6
# No answer names more copies than this.
_NAMED = 8
# The owner says "stored" but no copy is known: how long the writer's message may still take.
_GRACE = 2.0
# How many freed objects without a known copy are remembered.
_FREED_EARLY = 10_000


class DirectoryEntry:
    """What is known about one object, beyond what the table knows.

    `nodes` have a copy; `keeper` has the primary copy, which must not be evicted (0: ours, or
    none). `waiting` want to know where copies are, `told` were told and may be about to have one
    (until their turn ends).  `attempt` is the earliest that counts, and that of all these copies.
    """

    __slots__ = (
        "asked",
        "attempt",
        "eager",
        "keeper",
        "nodes",
        "size",
        "timer",
        "told",
        "waiting",
    )

    def __init__(self) -> None:
        self.size = 0
        self.attempt = 0
        self.nodes: set[NodeNumber] = set()
        self.keeper: NodeNumber = 0
        self.waiting: dict[NodeNumber, None] = {}
        self.eager: set[NodeNumber] = set()
        self.told: dict[NodeNumber, float] = {}
        self.asked = False
        self.timer = False

    def arrived_at(self, node: NodeNumber, size: int) -> None:
        """Note that a node has a copy, so it no longer looks for one."""
        self.size = size
        self.looks_no_more(node)

    def looks_no_more(self, node: NodeNumber) -> None:
        """Note that a node no longer looks for the object."""
        self.waiting.pop(node, None)
        self.eager.discard(node)
        self.told.pop(node, None)

    def is_idle(self) -> bool:
        """Whether nothing would be lost by dropping the entry."""
        return not (self.nodes or self.waiting or self.told or self.attempt)


class Directory:
    """The directory of one raylet.

    `bytes_of(obj, start, length)`, set by the manager, reads an object that lies in memory.
    """

    def __init__(self, context: StoreContext, table: ObjectTable) -> None:
        self.bytes_of: Callable[[LocalObject, int, int], bytes] = lambda obj, start, length: b""
        self._context = context
        self._table = table
        self._owners: dict[bytes, dict[ObjectId, DirectoryEntry]] = {}
        # Freed objects: the nodes that were told of a copy and have not reported the outcome.
        self._leaving: dict[ObjectId, set[NodeNumber]] = {}
        # Freed before all copies were known: a result may come straight from another node, and be
        # dropped, before that node's raylet has said where it is; and so may a failed attempt's.
        self._freed_early: dict[ObjectId, None] = {}

    # -- copies come and go ------------------------------------------------------------------------
    def on_object_at(self, message: objects.ObjectAt) -> None:
        """A node has a copy."""
        oid, node = message.oid, message.node
        if self._has_left(oid, node):
            return
        if owner_of(oid) in self._context.dead:
            self._context.post(node, objects.DropCopies([oid]))
            return
        entry = self._entry(oid)
        if oid in self._freed_early and node != self._context.node:
            del self._freed_early[oid]
            self._context.post(node, objects.DropCopies([oid]))
            return
        if message.attempt > (0 if entry is None else entry.attempt):
            self._supersede(oid, message.attempt)
            entry = self._entry(oid)
        elif entry is not None and message.attempt < entry.attempt:
            entry.looks_no_more(node)
            self._context.post(node, objects.DropCopies([oid], entry.attempt))
            self._serve(oid, entry)
            return
        if node == self._context.node:
            if entry is not None:
                entry.arrived_at(node, message.size)
                self._serve(oid, entry)
            return
        entry = entry or self._make(oid)
        entry.arrived_at(node, message.size)
        entry.nodes.add(node)
        if not entry.keeper and self._table.get(oid) is None:
            entry.keeper = node
        self._serve(oid, entry)

    def on_object_gone(self, message: objects.ObjectGone) -> None:
        """A node has no copy any more."""
        entry = self._entry(message.oid)
        if entry is None or message.attempt >= entry.attempt:
            self._copy_gone(message.oid, message.node, message.text)

    def on_new_attempt(self, source: Address, message: objects.NewAttempt) -> None:
        """The owner does not want what earlier attempts made."""
        for oid in message.oids:
            if owner_of(oid) == source:
                self._supersede(oid, message.attempt)

    # -- questions ---------------------------------------------------------------------------------
    def on_locate(self, message: objects.Locate) -> None:
        """A raylet looks for an object."""
        oid, node = message.oid, message.node
        self._has_left(oid, node)
        if owner_of(oid) in self._context.dead:
            self._context.post(node, _owner_died(oid))
            return
        self._supersede(oid, message.attempt)
        entry = self._entry(oid) or self._make(oid)
        entry.told.pop(node, None)
        if node in entry.nodes:
            self._copy_gone(oid, node)
            entry = self._entry(oid) or self._make(oid)
        entry.waiting[node] = None
        if message.eager:
            entry.eager.add(node)
        self._serve(oid, entry)

    def on_locate_cancel(self, message: objects.LocateCancel) -> None:
        """A raylet no longer looks for it, or could not get it."""
        oid, node = message.oid, message.node
        if self._has_left(oid, node):
            return
        entry = self._entry(oid)
        if entry is not None:
            entry.looks_no_more(node)
            self._serve(oid, entry)
            self._tidy(oid, entry)

    def on_tell(self, source: Address, message: objects.Tell) -> None:
        """An owner reports the state of its object."""
        oid = message.oid
        entry = self._entry(oid)
        if entry is None or owner_of(oid) != source:
            return
        entry.asked = False
        if message.kind == objects.STORED:
            self._told_stored(oid, entry)
            return
        for node in entry.waiting:
            answer = objects.Located(oid, message.kind, value=message.value, text=message.text)
            self._context.post(node, answer)
        entry.waiting.clear()
        entry.eager.clear()
        if message.kind == objects.FREED:
            entry.attempt = 0  # no `Free` follows
        self._tidy(oid, entry)

    # -- freeing -----------------------------------------------------------------------------------
    def on_free(self, source: Address, oids: Iterable[ObjectId]) -> None:
        """Nobody refers to these objects any more."""
        mine = [oid for oid in oids if owner_of(oid) == source]
        table, early = self._table, self._freed_early
        for oid in mine:
            entry = self._entry(oid)
            is_known = entry is not None or table.get(oid) is not None or oid in table.writing
            if not is_known or (entry is not None and entry.attempt):
                early[oid] = None
                if len(early) > _FREED_EARLY:
                    del early[next(iter(early))]
        self._drop_everywhere(mine, owner_died=False)

    def on_process_died(self, owner: Address) -> None:
        """An owner has ended, and its objects with it."""
        prefix = id_prefix(owner)
        self._drop_everywhere(list(self._owners.get(prefix, ())), owner_died=True)
        self._table.drop_of(prefix)

    def on_node_gone(self, node: NodeNumber) -> None:
        """All copies on a node are gone, and nobody there waits any more."""
        for oid in [oid for oid, nodes in self._leaving.items() if node in nodes]:
            self._has_left(oid, node)
        for oid, entry in [pair for owned in self._owners.values() for pair in owned.items()]:
            entry.looks_no_more(node)
            if node in entry.nodes:
                self._copy_gone(oid, node)
            else:
                self._serve(oid, entry)
                self._tidy(oid, entry)

    def copies(self, oid: ObjectId) -> list[NodeNumber]:
        """The nodes that have the object."""
        entry = self._entry(oid)
        nodes = sorted(entry.nodes) if entry is not None else []
        return [self._context.node, *nodes] if self._table.get(oid) is not None else nodes

    def give_up(self, oid: ObjectId, node: NodeNumber) -> bool:
        """Keep another copy than the one on a node about to leave; False: there is no other."""
        if self.copies(oid) in ([], [node]):
            return False
        entry = self._entry(oid)
        before = 1 if entry is None else entry.attempt + 1
        self._copy_gone(oid, node)
        self._context.post(node, objects.DropCopies([oid], before))
        return True

    # -- details -----------------------------------------------------------------------------------
    def _supersede(self, oid: ObjectId, attempt: int) -> None:
        """From now on only copies of this attempt, or of a later one, count."""
        entry = self._entry(oid)
        if attempt <= (0 if entry is None else entry.attempt):
            return
        if entry is None:
            entry = self._make(oid)
        entry.attempt = attempt
        for node in sorted({*entry.nodes, *entry.told}):
            self._context.post(node, objects.DropCopies([oid], attempt))
        entry.nodes.clear()
        entry.keeper = 0
        self._table.drop(oid, attempt)
        self._serve(oid, entry)

    def _copy_gone(self, oid: ObjectId, node: NodeNumber, why: str = "") -> None:
        entry = self._entry(oid)
        if entry is not None:
            entry.nodes.discard(node)
            if entry.keeper in (node, 0):
                self._choose_keeper(oid, entry)
        if not self.copies(oid):
            self._all_gone(oid, entry, why)
        elif entry is not None:
            self._tidy(oid, entry)

    def _choose_keeper(self, oid: ObjectId, entry: DirectoryEntry) -> None:
        """Choose another copy that must not be evicted, as the primary copy is gone."""
        entry.keeper = 0
        if self._table.get(oid) is not None:
            self._table.promote(oid)
        elif entry.nodes:
            entry.keeper = min(entry.nodes)
            kept = objects.ObjectAt(oid, entry.size, entry.keeper, entry.attempt)
            self._context.post(entry.keeper, kept)

    def _all_gone(self, oid: ObjectId, entry: DirectoryEntry | None, why: str = "") -> None:
        owner = owner_of(oid)
        if self._table.is_being_written(oid) or owner in self._context.dead:
            return
        attempt = 0 if entry is None else entry.attempt
        self._context.send(owner, objects.CopiesLost([oid], why, attempt))
        if entry is not None:
            self._serve(oid, entry)
            self._tidy(oid, entry)

    def _serve(self, oid: ObjectId, entry: DirectoryEntry) -> None:
        """Answer as many of the waiting nodes as may pull now."""
        if not entry.waiting:
            return
        copies = self.copies(oid)
        if not copies:
            if not entry.asked:
                entry.asked = True
                self._context.send(owner_of(oid), objects.Ask(oid))
            return
        obj = self._table.get(oid)
        size = entry.size if obj is None else obj.size
        now = self._context.now()
        turns = sum(1 for until in entry.told.values() if until > now)
        for node in list(entry.waiting):
            if size >= _TURNS_FROM and turns >= _PULLERS_PER_COPY * len(copies):
                self._serve_later(oid, entry, min(entry.told.values()) - now)
                return
            del entry.waiting[node]
            entry.told[node] = now + _TURN_SECONDS + size / _TURN_BYTES_PER_SECOND
            turns += 1
            named = copies
            if len(copies) > _NAMED:
                named = self._context.random.sample(copies, _NAMED)
            self._context.post(node, self._located(oid, entry, size, named, node in entry.eager))
            entry.eager.discard(node)

    def _located(
        self,
        oid: ObjectId,
        entry: DirectoryEntry,
        size: int,
        named: list[NodeNumber],
        eager: bool,
    ) -> objects.Located:
        """The answer to a node that looks for copies: where they are, or even the object itself."""
        attempt = entry.attempt
        obj = self._table.get(oid) if eager and size <= spill.PIECE else None
        if obj is None or obj.offset < 0 or obj.attempt != attempt:
            return objects.Located(oid, objects.STORED, size, named, attempt=attempt)
        value, edition = self.bytes_of(obj, 0, obj.size), obj.edition
        return objects.Located(
            oid, objects.STORED, size, named, value, edition=edition, attempt=attempt
        )

    def _serve_later(self, oid: ObjectId, entry: DirectoryEntry, seconds: float) -> None:
        if entry.timer:
            return
        entry.timer = True

        def again() -> None:
            entry.timer = False
            if self._entry(oid) is entry:
                self._serve(oid, entry)

        self._context.timers.after(max(seconds, 0.1), again)

    def _told_stored(self, oid: ObjectId, entry: DirectoryEntry) -> None:
        if self.copies(oid):
            self._serve(oid, entry)
            return
        # The writer's message is in flight, or was lost with the writer.
        entry.asked = True

        def check() -> None:
            if self._entry(oid) is entry and entry.waiting and not self.copies(oid):
                entry.asked = False
                self._all_gone(oid, entry)

        self._context.timers.after(_GRACE, check)

    def _drop_everywhere(self, oids: Iterable[ObjectId], owner_died: bool) -> None:
        drops: dict[NodeNumber, list[ObjectId]] = {}
        for oid in oids:
            self._table.drop(oid)
            entry = self._entry(oid)
            if entry is None:
                continue
            self._forget(oid)
            if entry.told:
                self._leaving[oid] = set(entry.told)
            for node in sorted({*entry.nodes, *entry.told}):
                drops.setdefault(node, []).append(oid)
            for node in entry.waiting:
                freed = objects.Located(oid, objects.FREED)
                self._context.post(node, _owner_died(oid) if owner_died else freed)
        for node, dropped in drops.items():
            self._context.post(node, objects.DropCopies(dropped))

    def _has_left(self, oid: ObjectId, node: NodeNumber) -> bool:
        """Whether the object was freed while that node was about to get it."""
        nodes = self._leaving.get(oid)
        if nodes is None or node not in nodes:
            return False
        nodes.discard(node)
        if not nodes:
            del self._leaving[oid]
        return True

    def _entry(self, oid: ObjectId) -> DirectoryEntry | None:
        owned = self._owners.get(oid[:8])
        return None if owned is None else owned.get(oid)

    def _make(self, oid: ObjectId) -> DirectoryEntry:
        entry = DirectoryEntry()
        self._owners.setdefault(oid[:8], {})[oid] = entry
        return entry

    def _forget(self, oid: ObjectId) -> None:
        owned = self._owners[oid[:8]]
        del owned[oid]
        if not owned:
            del self._owners[oid[:8]]

    def _tidy(self, oid: ObjectId, entry: DirectoryEntry) -> None:
        if entry.is_idle() and self._entry(oid) is entry:
            self._forget(oid)


def _owner_died(oid: ObjectId) -> objects.Located:
    owner = owner_of(oid)
    text = f"its owner (process {owner & 0xFFFFFFFF} of node {node_of(owner)}) has ended"
    return objects.Located(oid, objects.OWNER_DIED, text=text)
