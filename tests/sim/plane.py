"""Data planes without sockets: bytes go from arena to arena, some time later, and not always.

Used by this simulation and by the tests of the object manager.  What a span writes is written in
two steps, the first of them rubbish: whoever reads or reuses its room too early finds that.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from rayhpc.store.arena import Arena
from rayhpc.wire.data_plane import Channel, Events, Offer
from rayhpc.wire.data_plane.sending import Span

Later = Callable[[float, Callable[[], None]], None]


class _Line:
    """One channel: its two ends, what is to go over it, and what has gone wrong."""

    def __init__(self, source: SimPlane, number: int) -> None:
        self.source = source
        self.number = number
        self.sink: SimPlane | None = None
        self.expected: dict[int, tuple[int, int, int]] = {}
        self.spans: deque[Span] = deque()
        self.busy = False
        self.stalled = False
        self.moved = 0

    @property
    def channel(self) -> Channel:
        return self.source.node, self.number


class PlaneNet:
    """All planes.

    Attributes:
        breaks: how likely a span ends its channel half-way.
        wrong: how likely a span's bytes are not what was sent.
        stalls: how likely nothing more comes, without an end.
        unreachable: nodes that nobody can dial.
    """

    def __init__(self, later: Later, chance: random.Random) -> None:
        self.later = later
        self.chance = chance
        self.planes: dict[int, SimPlane] = {}
        self.breaks = self.wrong = self.stalls = 0.0
        self.unreachable: set[int] = set()
        self.bytes = 0

    def kill(self, node: int) -> None:
        """A node has ended: its channels break."""
        plane = self.planes.pop(node, None)
        if plane is not None:
            for line in [*plane.ours.values(), *plane.theirs.values()]:
                self.cut(line, "reset")

    def cut(self, line: _Line, why: str) -> None:
        """A channel ends; each end that still lives hears it a little later."""
        sink = line.sink
        if line.source.ours.pop(line.number, None) is not None:
            line.source.say(lambda events: events.ended(line.number))
        if sink is not None and sink.theirs.get(line.channel) is line:
            # Until that is heard something may still be written.
            rubbish = list(line.expected.values())[:1]
            sink.say(lambda events: sink.end_line(line, rubbish, why))

    def cut_all(self) -> None:
        """All connections are reset."""
        for plane in self.planes.values():
            for line in list(plane.ours.values()):
                self.cut(line, "reset")

    def pause(self) -> float:
        """How long something takes."""
        return self.chance.uniform(0.0005, 0.02)


class SimPlane:
    """One node's; what it offers is that of `raylet.objects.plane.Plane`."""

    def __init__(self, net: PlaneNet, node: int, arena: Arena) -> None:
        self.node = node
        self.net = net
        self.arena = arena
        self.ours: dict[int, _Line] = {}
        self.theirs: dict[Channel, _Line] = {}
        self._numbers = itertools.count(1)
        self._tell: Any = None
        self._events: Any = None
        net.planes[node] = self

    def attach(self, tell: Callable[[Callable[[], None]], None], events: Events) -> None:
        self._tell, self._events = tell, events

    def prepare(self) -> str:
        return ""

    def listen(self) -> str:
        return ""

    def say(self, what: Callable[[Any], None]) -> None:
        """Have our manager hear something, a little later."""

        def told() -> None:
            if self.net.planes.get(self.node) is self:
                self._tell(lambda: what(self._events))

        self.net.later(self.net.pause(), told)

    # -- asking ------------------------------------------------------------------------------------
    def dial(self, node: int, offer: Offer) -> None:
        channel = (node, offer.channel)
        source = self.net.planes.get(node)
        if source is None or node in self.net.unreachable:
            self.say(lambda events: events.closed(channel, "it cannot be reached"))
            return
        line = source.ours[offer.channel] = _Line(source, offer.channel)
        line.sink = self
        self.theirs[channel] = line
        self.say(lambda events: self.theirs.get(channel) is line and events.opened(channel))

    def expect(self, channel: Channel, token: int, start: int, length: int, offset: int) -> None:
        line = self.theirs.get(channel)
        if line is not None:
            line.expected[token] = (start, length, offset)

    def forget(self, channel: Channel, token: int) -> None:
        line = self.theirs.get(channel)
        if line is not None:
            line.expected.pop(token, None)

    def moved(self, channel: Channel) -> int:
        line = self.theirs.get(channel)
        return -1 if line is None else line.moved

    def hang_up(self, channel: Channel) -> None:
        line = self.theirs.get(channel)
        if line is not None:
            self.net.cut(line, "hung up")

    def end_line(self, line: _Line, rubbish: list[tuple[int, int, int]], why: str) -> None:
        """The asking end of a channel ends."""
        if self.theirs.pop(line.channel, None) is None:
            return
        for _, length, offset in rubbish:
            with self.arena.view(offset, length) as view:
                view[: length // 2] = b"\xee" * (length // 2)
        self._events.closed(line.channel, why)

    # -- sending -----------------------------------------------------------------------------------
    def offer(self, node: int) -> Offer:
        return Offer(next(self._numbers), [("sim", self.node)], b"ticket", b"up", b"down")

    def leads_to(self, number: int) -> int:
        line = self.ours.get(number)
        return 0 if line is None or line.sink is None else line.sink.node

    def send(self, number: int, span: Span) -> None:
        line = self.ours[number]
        line.spans.append(span)
        if not line.busy:
            self._next(line)

    def end(self, number: int) -> None:
        line = self.ours.get(number)
        if line is not None:
            self.net.cut(line, "")

    def close(self) -> None:
        self.net.kill(self.node)

    def _next(self, line: _Line) -> None:
        line.busy = bool(line.spans)
        if line.busy:
            span = line.spans.popleft()
            self.net.later(self.net.pause(), lambda: self._begin(line, span))

    def _begin(self, line: _Line, span: Span) -> None:
        sink, net = line.sink, self.net
        if self.ours.get(line.number) is not line or sink is None or line.stalled:
            return
        expected = line.expected.get(span.token)
        if expected is None:
            net.cut(line, "nobody had asked for it")
            return
        assert expected[:2] == (span.start, span.length)
        chance = net.chance.random()
        with sink.arena.view(expected[2], span.length) as view:
            view[:] = b"\xee" * span.length
        if chance < net.stalls:
            line.stalled = True
        elif chance < net.stalls + net.breaks:
            net.cut(line, "reset")
        elif chance < net.stalls + net.breaks + net.wrong:
            net.cut(line, "what came is not what was sealed")
        else:
            net.later(net.pause(), lambda: self._finish(line, span, expected[2]))

    def _finish(self, line: _Line, span: Span, offset: int) -> None:
        sink = line.sink
        assert sink is not None
        if self.ours.get(line.number) is not line or sink.theirs.get(line.channel) is not line:
            return
        source = self.arena.view(span.offset, span.length)
        with source, sink.arena.view(offset, span.length) as view:
            view[:] = source
        del line.expected[span.token]
        line.moved += 1
        self.net.bytes += span.length
        channel, number = line.channel, line.number
        # Told at once, in order with the channel's end.
        self._tell(lambda: number in self.ours and self._events.sent(number, span.token))
        sink._tell(
            lambda: (
                channel in sink.theirs and sink._events.arrived(channel, span.token, span.edition)
            )
        )
        self._next(line)
