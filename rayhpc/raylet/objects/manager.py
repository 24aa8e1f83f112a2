"""A node's object store in its raylet: the parts put together, and the messages they handle.

Made by the raylet's main loop, which passes in messages, deaths and the time.  A state machine: the
clock, the transport and randomness come from outside, slow work goes to a `context.Executor`.

    table      what lies here                 memory   room in the arena
    fetching   who waits for what             reclaim  evicting, spilling, restoring
    pulls      what comes from other nodes    spill    places on disk
    channels   the data plane's ways here     serving  what other nodes read here
    directory  where our owners' objects lie  report   rows, and who fills the store
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rayhpc.raylet.objects.background import Background
from rayhpc.raylet.objects.channels import Channels
from rayhpc.raylet.objects.context import Executor, Send, StoreContext
from rayhpc.raylet.objects.directory import Directory
from rayhpc.raylet.objects.fetching import Fetcher
from rayhpc.raylet.objects.memory import Memory
from rayhpc.raylet.objects.plane import NoPlane, Plane
from rayhpc.raylet.objects.pulls import Puller
from rayhpc.raylet.objects.reclaim import Reclaimer
from rayhpc.raylet.objects.report import Report
from rayhpc.raylet.objects.serving import Server
from rayhpc.raylet.objects.spill import SpillDirectory, Spiller
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.store.arena import Arena
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of, owner_node_of
from rayhpc.wire.data_plane import Channel
from rayhpc.wire.messages import objects
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import ObjectRow

Handler = Callable[[Address, Any], None]

# How often to look for finished work where there is no `wake_fd` to poll.
_LOOK_SECONDS = 0.02
# How many objects a draining node moves away at a time.
_MOVED_AT_ONCE = 200


class ObjectManager:
    """Everything a raylet does about objects.

    Args:
        node: this node's number.
        arena: the store's memory.
        spill_dirs: node-local directories to spill to (may be empty).
        spill_files: instead of these, directories whose files every process here has.
        send: puts a message on its way to an address.
        now: the clock, in seconds.
        random: chooses among copies.
        pid_of: the pid of a process of this node (for messages to people), 0 if unknown.
        executor: does slow work; threads by default.
        plane: moves large objects between nodes; without one they go over the control plane.
    """

    def __init__(
        self,
        node: NodeNumber,
        arena: Arena,
        spill_dirs: list[str],
        send: Send,
        now: Callable[[], float],
        random: random_module.Random,
        pid_of: Callable[[Address], int] = lambda process: 0,
        executor: Executor | None = None,
        plane: Plane | None = None,
        spill_files: Sequence[SpillDirectory] = (),
    ) -> None:
        self._executor = Background() if executor is None else executor
        context = self._context = StoreContext(node, send, now, random, self._executor)
        self._memory = Memory(arena, context)
        directories = spill_files or [SpillDirectory(path) for path in spill_dirs]
        self._spiller = Spiller(directories, context)
        reclaimer = Reclaimer(context, arena, self._memory, self._spiller)
        table = self._table = ObjectTable(context, self._memory, reclaimer, self._spiller)
        self._plane: Plane = NoPlane() if plane is None else plane
        ways = self._channels = Channels(context, self._plane)
        self._puller = Puller(context, arena, self._memory, reclaimer, table, self._spiller, ways)
        self._server = Server(context, arena, table, self._plane)
        self._plane.attach(self._executor.tell, _PlaneEvents(ways, self._server))
        self._fetcher = Fetcher(context, table, reclaimer, self._memory, self._puller)
        self._directory = Directory(context, table)
        self._directory.bytes_of = self._server.bytes_of
        self._report = Report(node, table, self._memory, self._spiller, pid_of)
        self._memory.make_room = reclaimer.make_room
        self._memory.is_making_room = reclaimer.is_spilling
        reclaimer.lose = table.lose
        reclaimer.restored = self._fetcher.on_restored
        table.arrived = self._fetcher.arrived
        table.dropped = self._fetcher.on_dropped
        table.full = self._fetcher.full = self._report.full
        self._puller.ended = self._fetcher.on_pull_ended
        self._parts = self._make_parts()

    # -- for the raylet's loop ---------------------------------------------------------------------
    def handlers(self) -> dict[type, Handler]:
        """The handlers to call with (source, message), by message type."""
        return {kind: self._entering(handler) for kind, handler in self._parts.items()}

    def on_process_died(self, address: Address, reason: str) -> None:
        """A process of this node has ended; processes of other nodes are ignored."""
        if node_of(address) != self._context.node or address in self._context.dead:
            return
        self._context.dead.add(address)
        self._memory.on_process_died(address)
        self._fetcher.on_process_died(address)
        self._table.on_process_died(address)
        self._directory.on_process_died(address)
        self._handle_looped()

    def on_node_gone(self, node: NodeNumber, reason: str) -> None:
        """Another node has ended, with its processes and copies."""
        if node == self._context.node or node in self._context.gone_nodes:
            return
        self._context.gone_nodes.add(node)
        self._fetcher.on_node_gone(node, reason)
        self._puller.on_node_gone(node)
        self._channels.on_node_gone(node)
        self._server.on_node_gone(node)
        self._table.drop_of(node.to_bytes(4, "big"))
        self._directory.on_node_gone(node)
        self._handle_looped()

    def deadline(self) -> float | None:
        """When `on_time` must be called next (by the clock passed in)."""
        deadline = self._context.timers.deadline()
        if self._executor.busy and self.wake_fd < 0:
            soon = self._context.now() + _LOOK_SECONDS
            return soon if deadline is None else min(deadline, soon)
        return deadline

    def on_time(self) -> None:
        """Handle finished work and do what is due."""
        self._executor.run_done()
        self._context.timers.run()
        self._handle_looped()

    @property
    def wake_fd(self) -> int:
        """Readable when slow work is finished: call `on_time` then.  -1: there is none."""
        return getattr(self._executor, "wake_fd", -1)

    @property
    def used(self) -> int:
        """Bytes of the arena that are taken."""
        return self._memory.used

    @property
    def capacity(self) -> int:
        """Bytes of the arena."""
        return self._memory.size

    @property
    def spilled(self) -> int:
        """Bytes on disk."""
        return self._spiller.spilled

    @property
    def moved(self) -> Moved:
        """What has been pulled from other nodes and spilled to disk so far."""
        pulls, spiller = self._puller, self._spiller
        return Moved(pulls.arrived, pulls.arrived_bytes, spiller.placed, spiller.placed_bytes)

    def move_away(self) -> None:
        """Have the owners' nodes arrange other copies of the objects that only this node keeps."""
        by_node: dict[NodeNumber, list[bytes]] = {}
        for oid in self._table.kept_for_others(_MOVED_AT_ONCE):
            by_node.setdefault(owner_node_of(oid), []).append(oid)
        for node, oids in by_node.items():
            self._context.post(node, objects.MoveAway(oids, self._context.node))

    def unmoved(self) -> int:
        """How many such objects there are."""
        return sum(1 for _ in self._table.kept_for_others())

    def is_to_be_made(self, oids: Iterable[ObjectId]) -> bool:
        """Whether one of these objects is waited for here and lies nowhere yet, or no more."""
        return self._fetcher.is_to_be_made(oids)

    def rows(self, limit: int) -> list[ObjectRow]:
        """At most `limit` of the objects that lie on this node."""
        return self._report.rows(limit)

    def close(self) -> None:
        """Stop the threads and delete what is on disk; the arena stays the caller's."""
        self._plane.close()
        self._executor.close()
        self._spiller.close()

    # -- messages ----------------------------------------------------------------------------------
    def _make_parts(self) -> dict[type, Handler]:
        table, fetcher, directory = self._table, self._fetcher, self._directory
        return {
            objects.StoreCreate: lambda src, m: table.create(src, m.oid, m.size, m.attempt),
            objects.StoreSeal: lambda src, m: table.seal(src, m.oid),
            objects.Unpin: lambda src, m: table.unpin(src, m.oids),
            objects.Fetch: fetcher.on_fetch,
            objects.FetchCancel: fetcher.on_fetch_cancel,
            objects.Free: lambda src, m: directory.on_free(src, m.oids),
            objects.NewAttempt: directory.on_new_attempt,
            objects.Tell: directory.on_tell,
            objects.ObjectAt: self._on_object_at,
            objects.ObjectGone: lambda _, m: directory.on_object_gone(m),
            objects.Locate: lambda _, m: directory.on_locate(m),
            objects.LocateCancel: lambda _, m: directory.on_locate_cancel(m),
            objects.Located: lambda _, m: fetcher.on_located(m),
            objects.DropCopies: self._on_drop_copies,
            objects.MoveAway: self._on_move_away,
            objects.ReadChunk: lambda _, m: self._server.on_read_chunk(m),
            objects.Chunk: self._puller.on_chunk,
            objects.AskChannels: lambda _, m: self._server.on_ask_channels(m),
            objects.ChannelOffer: lambda _, m: self._channels.on_offer(m),
            objects.ReadSpan: lambda _, m: self._server.on_read_span(m),
            objects.ChannelClosed: lambda _, m: self._server.on_channel_closed(m),
            objects.SpanRefused: lambda _, m: self._channels.on_refused(m),
        }

    def _on_object_at(self, _: Address, message: objects.ObjectAt) -> None:
        if owner_node_of(message.oid) == self._context.node:
            self._directory.on_object_at(message)
        else:
            self._table.promote(message.oid)  # the directory made our copy the one to keep

    def _on_move_away(self, _: Address, message: objects.MoveAway) -> None:
        mine = [oid for oid in message.oids if owner_node_of(oid) == self._context.node]
        missing = [oid for oid in mine if not self._directory.give_up(oid, message.node)]
        if missing:
            self._fetcher.on_fetch(self._context.me, objects.Fetch(missing, pin=False))

    def _on_drop_copies(self, _: Address, message: objects.DropCopies) -> None:
        for oid in message.oids:
            self._table.drop(oid, message.before)

    def _entering(self, handler: Handler) -> Handler:
        dead, looped = self._context.dead, self._context.looped

        def handle(source: Address, message: Any) -> None:
            if source in dead:
                return
            handler(source, message)
            if looped:
                self._handle_looped()

        return handle

    def _handle_looped(self) -> None:
        looped, me = self._context.looped, self._context.me
        while looped:
            message = looped.popleft()
            self._parts[type(message)](me, message)


class _PlaneEvents:
    """Passes the data plane's events to the parts (in the raylet's thread)."""

    def __init__(self, channels: Channels, server: Server) -> None:
        self.opened: Callable[[Channel], None] = channels.opened
        self.arrived: Callable[[Channel, int, int], None] = channels.on_arrived
        self.closed: Callable[[Channel, str], None] = channels.closed
        self.sent: Callable[[int, int], None] = server.sent
        self.ended: Callable[[int], None] = server.ended
