"""Sends this node's objects to others: over channels of the data plane, or in chunks.

Used by `manager`.  An object being sent over a channel is pinned, in the raylet's own name, until
its bytes have gone or the channel has ended.
"""

from __future__ import annotations

import logging

from rayhpc.raylet.objects import spill
from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.plane import Plane
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.store.arena import Arena
from rayhpc.wire.address import NodeNumber, ObjectId, owner_node_of
from rayhpc.wire.data_plane import CHANNELS_MAX
from rayhpc.wire.data_plane.sending import Span
from rayhpc.wire.messages import objects

logger = logging.getLogger("rayhpc")


class Server:
    """Sends what other nodes request."""

    def __init__(
        self, context: StoreContext, arena: Arena, table: ObjectTable, plane: Plane
    ) -> None:
        self._context = context
        self._arena = arena
        self._table = table
        self._plane = plane
        # None: not tried yet; empty: it listens; otherwise why it cannot.
        self._problem: str | None = None
        self._asked: list[objects.AskChannels] = []
        # Channel → token → the object that is pinned for it.
        self._sending: dict[int, dict[int, ObjectId]] = {}

    # -- channels ----------------------------------------------------------------------------------
    def on_ask_channels(self, message: objects.AskChannels) -> None:
        """A node asks for channels from here."""
        if self._problem == "":
            self._offer(message)
            return
        self._asked.append(message)
        if len(self._asked) == 1:
            self._context.executor.submit(self._plane.listen, self._listening)

    def on_read_span(self, message: objects.ReadSpan) -> None:
        """A node requests bytes over a channel."""
        oid, channel = message.oid, message.channel
        obj = self._copy_of(oid, message.attempt)
        end = message.start + message.length
        if obj is None or obj.size != message.size or not 0 <= message.start < end <= obj.size:
            self._refuse(message, objects.NO_COPY)
        elif obj.offset < 0:
            self._refuse(message, objects.NOT_IN_MEMORY)
        elif self._plane.leads_to(channel) != message.node:
            self._refuse(message, objects.NO_CHANNEL)
        else:
            self._table.pin(obj, self._context.me)
            self._sending.setdefault(channel, {})[message.token] = oid
            offset = obj.offset + message.start
            span = Span(message.token, obj.edition, message.start, message.length, offset)
            self._plane.send(channel, span)

    def on_channel_closed(self, message: objects.ChannelClosed) -> None:
        """A node no longer reads a channel."""
        if self._plane.leads_to(message.channel) == message.node:
            self._plane.end(message.channel)

    def sent(self, number: int, token: int) -> None:
        """A span has been sent."""
        self._table.unpin(self._context.me, [self._sending[number].pop(token)])

    def ended(self, number: int) -> None:
        """A channel has ended: release everything that was to go over it."""
        self._table.unpin(self._context.me, self._sending.pop(number, {}).values())

    def on_node_gone(self, node: NodeNumber) -> None:
        """A node is gone: its channels have ended."""
        for number in list(self._sending):
            if self._plane.leads_to(number) == node:
                self._plane.end(number)

    def _listening(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            if problem:
                logger.warning("other nodes read large objects through the raylets: %s", problem)
        asked, self._asked = self._asked, []
        for message in asked:
            self._offer(message)

    def _offer(self, message: objects.AskChannels) -> None:
        ours = self._context.node
        for _ in range(min(message.count, CHANNELS_MAX)):
            if self._problem:
                offered = objects.ChannelOffer(ours, text=self._problem)
            else:
                offer = self._plane.offer(message.node)
                offered = objects.ChannelOffer(
                    ours,
                    offer.channel,
                    offer.endpoints,
                    offer.ticket,
                    offer.up,
                    offer.down,
                    offer.text,
                )
            self._context.post(message.node, offered)

    def _refuse(self, message: objects.ReadSpan, why: int) -> None:
        ours = self._context.node
        answer = objects.SpanRefused(ours, message.channel, message.token, why)
        self._context.post(message.node, answer)

    # -- chunks ------------------------------------------------------------------------------------
    def on_read_chunk(self, message: objects.ReadChunk) -> None:
        """Another raylet requests a piece of an object."""
        oid, start, attempt = message.oid, message.start, message.attempt
        obj = self._copy_of(oid, attempt)
        length = 0 if obj is None else min(message.length, spill.PIECE, obj.size - start)
        if obj is None or start < 0 or length < 1:
            self._context.post(message.node, objects.Chunk(oid, start, -1, b"", attempt=attempt))
        elif obj.offset >= 0:
            data = self.bytes_of(obj, start, length)
            chunk = objects.Chunk(oid, start, obj.size, data, obj.edition, attempt)
            self._context.post(message.node, chunk)
        else:
            self._read_from_disk(obj, message.node, start, length)

    def _copy_of(self, oid: ObjectId, attempt: int) -> LocalObject | None:
        """Our copy of that attempt; the directory is told if it should not have named us."""
        obj = self._table.get(oid)
        if obj is None or obj.attempt < attempt:
            gone = objects.ObjectGone(oid, self._context.node, attempt=attempt)
            self._context.post(owner_node_of(oid), gone)
        return obj if obj is not None and obj.attempt == attempt else None

    def bytes_of(self, obj: LocalObject, start: int, length: int) -> bytes:
        """A part of an object that lies in memory, to be sent in a message."""
        with self._arena.view(obj.offset + start, length) as view:
            return bytes(view)

    def _read_from_disk(self, obj: LocalObject, node: NodeNumber, start: int, length: int) -> None:
        place = obj.disk
        assert place is not None

        def done(data: bytes | None) -> None:
            if data is None:
                if not obj.gone and obj.offset < 0 and not obj.job:
                    self._table.lose(obj, place.corrupt())
                chunk = objects.Chunk(obj.oid, start, -1, b"", attempt=obj.attempt)
                self._context.post(node, chunk)
            else:
                chunk = objects.Chunk(obj.oid, start, obj.size, data, obj.edition, obj.attempt)
                self._context.post(node, chunk)

        self._context.executor.submit(lambda: spill.read_pieces(place, start, length), done)
