"""The data plane's channels into this node: from which nodes, and what is under way on each.

Used by `pulls`.  A state machine: negotiates channels over the control plane, has `plane` dial
them, requests spans, and closes channels that stall.  Knows tokens, not objects.

If a node cannot be reached this way, or its channels keep breaking, no channels are used for it
for REFUSED_S: objects then come over the control plane, in chunks.  The log says so once per node.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.plane import Plane
from rayhpc.wire.address import NodeNumber, ObjectId
from rayhpc.wire.data_plane import Channel, Offer
from rayhpc.wire.messages import objects

logger = logging.getLogger("rayhpc")

# Results of `way`: channels can be used; not known yet (`changed` follows); they cannot.
OPEN, WAITING, NONE = range(3)

# Channels from one node, and spans under way on each of them.
CHANNELS_EACH = 2
_SPANS_EACH = 2
# How long it may take until the first channel is usable.
_OPEN_S = 3.0
# A channel that should deliver but has been silent for this long is closed.
STALL_S = 2.5
_WATCH_S = 0.5
# How many channels may break in a row without delivering a span.  Bytes that are changed on the way
# can end several; in chunks they would break the link of the two raylets, which all else uses.
_BREAKS_MAX = 8 * CHANNELS_EACH
# A stall takes long to be seen, so it counts as this many.
_STALL_BREAKS = 4
REFUSED_S = 60.0


class _Flow:
    """One usable channel: the tokens under way on it, and when it last delivered."""

    __slots__ = ("heard", "moved", "stalled", "tokens")

    def __init__(self) -> None:
        self.tokens: set[int] = set()
        self.moved = 0
        self.heard = 0.0
        self.stalled = False


class _Source:
    """Another node, as a source."""

    __slots__ = ("asked", "breaks", "dialled", "flows", "opening", "refused_until", "said")

    def __init__(self) -> None:
        self.flows: dict[Channel, _Flow] = {}
        self.dialled: set[Channel] = set()
        self.asked = 0  # requested channels that have not been offered yet
        self.opening = 0  # the number of the request that no channel has come of yet; 0: none
        self.breaks = 0
        self.refused_until = 0.0
        self.said = False


class Channels:
    """All channels into this node.

    Callbacks set by the user: `arrived(token, edition)`; `lost(tokens)`: they will not come over
    their channel any more; `refused(token, why)`; `changed(node)`: ask `way(node)` again.
    """

    def __init__(self, context: StoreContext, plane: Plane) -> None:
        self.arrived: Callable[[int, int], None] = lambda token, edition: None
        self.lost: Callable[[list[int]], None] = lambda tokens: None
        self.refused: Callable[[int, int], None] = lambda token, why: None
        self.changed: Callable[[NodeNumber], None] = lambda node: None
        self._context = context
        self._plane = plane
        self._sources: dict[NodeNumber, _Source] = {}
        self._tokens = itertools.count(1)
        self._openings = itertools.count(1)
        self._ready: bool | None = None
        self._preparing = False
        self._watching = False

    # -- for `pulls` -------------------------------------------------------------------------------
    def way(self, node: NodeNumber) -> int:
        """Whether channels from a node can be used; opens some if there are none."""
        source = self._sources.get(node)
        if source is None:
            source = self._sources[node] = _Source()
        if source.flows:
            return OPEN
        if self._ready is False or source.refused_until > self._context.now():
            return NONE
        self._open(node, source)
        return WAITING

    def breaks(self, node: NodeNumber) -> int:
        """How many channels from a node have broken since a span last arrived."""
        return self._sources[node].breaks

    def ask(
        self,
        node: NodeNumber,
        oid: ObjectId,
        size: int,
        attempt: int,
        start: int,
        length: int,
        offset: int,
    ) -> int:
        """Request a span over the channel with the least under way.

        Args:
            node: the source.
            oid: the object.
            size: its bytes.
            attempt: the one whose copy it is.
            start: of the span in it.
            length: of the span.
            offset: where in the arena it goes; reserved until it has arrived or is lost.

        Returns:
            The span's token; 0: every channel has enough under way.
        """
        source = self._sources[node]
        channel, flow = min(source.flows.items(), key=lambda x: (len(x[1].tokens), x[0]))
        if len(flow.tokens) >= _SPANS_EACH:
            return 0
        if not flow.tokens:
            flow.heard = self._context.now()
        token = next(self._tokens)
        flow.tokens.add(token)
        self._plane.expect(channel, token, start, length, offset)
        ours = self._context.node
        message = objects.ReadSpan(oid, size, start, length, ours, channel[1], token, attempt)
        self._context.post(node, message)
        self._watch_later()
        return token

    def on_node_gone(self, node: NodeNumber) -> None:
        """A node is gone: nothing arrives from it any more."""
        source = self._sources.get(node)
        if source is not None:
            for channel in [*source.flows, *source.dialled]:
                self._plane.hang_up(channel)
            source.refused_until = float("inf")

    # -- messages ----------------------------------------------------------------------------------
    def on_offer(self, message: objects.ChannelOffer) -> None:
        """A node offers channels to dial, or says why not."""
        source = self._sources.get(message.node)
        if source is None or not source.asked:
            return
        source.asked -= 1
        if not message.endpoints:
            if not (source.flows or source.dialled or source.asked):
                self._give_up(message.node, source, message.text)
            return
        channel = (message.node, message.channel)
        source.dialled.add(channel)
        offer = Offer(message.channel, message.endpoints, message.ticket, message.up, message.down)
        self._plane.dial(message.node, offer)

    def on_refused(self, message: objects.SpanRefused) -> None:
        """A node refuses to send a span over a channel."""
        channel = (message.node, message.channel)
        source = self._sources.get(message.node)
        flow = None if source is None else source.flows.get(channel)
        if flow is None or message.token not in flow.tokens:
            return
        if message.why == objects.NO_CHANNEL:
            self._plane.hang_up(channel)  # It has ended there: what is under way will not arrive.
            return
        flow.tokens.discard(message.token)
        self._plane.forget(channel, message.token)
        self.refused(message.token, message.why)

    # -- the data plane's events -------------------------------------------------------------------
    def opened(self, channel: Channel) -> None:
        """A channel is usable."""
        source = self._sources[channel[0]]
        source.dialled.discard(channel)
        source.opening = 0
        source.flows[channel] = _Flow()
        self.changed(channel[0])

    def on_arrived(self, channel: Channel, token: int, edition: int) -> None:
        """A span has arrived."""
        source = self._sources[channel[0]]
        flow = source.flows[channel]
        flow.tokens.discard(token)
        flow.heard = self._context.now()
        source.breaks = 0
        self.arrived(token, edition)

    def closed(self, channel: Channel, why: str) -> None:
        """A channel has ended, or could not be opened; it writes nothing any more."""
        node = channel[0]
        source = self._sources[node]
        flow = source.flows.pop(channel, None)
        if why:  # Its other end may not notice until it has something to send.
            closed = objects.ChannelClosed(self._context.node, channel[1])
            self._context.post(node, closed)
        if flow is None:
            source.dialled.discard(channel)
            if not source.flows and not source.dialled:
                self._give_up(node, source, why)
            return
        if flow.tokens or why:
            source.breaks += _STALL_BREAKS if flow.stalled else 1
            logger.info("a channel from node %d has broken: %s", node, why or "it has ended")
            if source.breaks >= _BREAKS_MAX:
                self._give_up(node, source, why)
        self.lost(sorted(flow.tokens))
        self.changed(node)

    # -- details -----------------------------------------------------------------------------------
    def _open(self, node: NodeNumber, source: _Source) -> None:
        if self._ready is None:
            self._prepare()
            return
        if source.asked or source.dialled:
            return
        source.asked = CHANNELS_EACH
        opening = source.opening = next(self._openings)
        self._context.post(node, objects.AskChannels(self._context.node, CHANNELS_EACH))
        self._context.timers.after(_OPEN_S, lambda: self._look_at_opening(node, source, opening))

    def _prepare(self) -> None:
        if not self._preparing:
            self._preparing = True
            self._context.executor.submit(self._plane.prepare, self._prepared)

    def _prepared(self, problem: str) -> None:
        self._ready = not problem
        if problem:
            logger.info("large objects come through the raylets: %s", problem)
        for node in list(self._sources):
            self.changed(node)

    def _look_at_opening(self, node: NodeNumber, source: _Source, opening: int) -> None:
        # Channels that have opened and broken since say nothing about this, nor about a later one.
        is_open = opening != source.opening
        if not is_open and source.refused_until <= self._context.now():
            source.asked = 0
            self._give_up(node, source, "it does not answer in time")

    def _give_up(self, node: NodeNumber, source: _Source, why: str) -> None:
        if source.refused_until <= self._context.now():
            source.refused_until = self._context.now() + REFUSED_S
        source.breaks = 0
        if not source.said:
            source.said = True
            logger.warning(
                "large objects of node %d come through the raylets, which is slower: %s", node, why
            )
        self.changed(node)

    def _watch_later(self) -> None:
        if not self._watching:
            self._watching = True
            self._context.timers.after(_WATCH_S, self._watch)

    def _watch(self) -> None:
        self._watching = False
        now = self._context.now()
        for source in self._sources.values():
            for channel, flow in source.flows.items():
                if not flow.tokens:
                    continue
                self._watch_later()
                moved = self._plane.moved(channel)
                if moved != flow.moved:
                    flow.moved, flow.heard = moved, now
                elif now - flow.heard >= STALL_S:
                    logger.info("nothing comes from node %d over a channel", channel[0])
                    flow.stalled = True
                    self._plane.hang_up(channel)
