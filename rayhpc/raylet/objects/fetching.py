"""Who on this node waits for which object, and how each gets here: from disk or another node.

Used by `manager`.  A state machine over `Want`s.  The bytes are moved by `pulls` (from other nodes)
and `reclaim` (from disk); the owner's raylet (`directory`) is asked where copies are.

A `Located` that names copies is closed by exactly one message of ours: `ObjectAt`, `LocateCancel`
or another `Locate`, so the directory knows at any time who may be about to hold a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rayhpc.raylet.objects.context import StoreContext
from rayhpc.raylet.objects.local import LocalObject
from rayhpc.raylet.objects.memory import Memory, RoomRequest
from rayhpc.raylet.objects.pulls import Puller
from rayhpc.raylet.objects.reclaim import FULL, Reclaimer
from rayhpc.raylet.objects.table import ObjectTable
from rayhpc.wire.address import Address, NodeNumber, ObjectId, owner_node_of
from rayhpc.wire.messages import objects

# Objects, of one chunk at most, that may come along with the answer to a `Locate`.
_EAGER = 16

# Want.state
LOCATING, PULLING, RESTORING, PAUSED = range(4)

_PAUSE_MIN, _PAUSE_MAX = 0.01, 1.0


class Want:
    """An object that is waited for here; `waiters` are (process, whether it wants a pin).

    `source` is the node it was last requested from, `avoid` those that did not send it.  `least` is
    the earliest attempt that will do, `attempt` the one being pulled.
    """

    __slots__ = (
        "attempt",
        "avoid",
        "least",
        "oid",
        "pause",
        "request",
        "source",
        "state",
        "waiters",
    )

    def __init__(self, oid: ObjectId) -> None:
        self.oid = oid
        self.waiters: dict[tuple[Address, bool], None] = {}
        self.state = LOCATING
        self.request: RoomRequest | None = None
        self.pause = _PAUSE_MIN
        self.source: NodeNumber = 0
        self.avoid: set[NodeNumber] = set()
        self.least = 0
        self.attempt = 0

    @property
    def urgent(self) -> bool:
        """Whether somebody wants to read it, not just to have it on this node."""
        return any(pin for _, pin in self.waiters)


class Fetcher:
    """Brings objects to this node.

    `full`, set by the manager, makes the sentence for a reader that waited for room in vain.
    """

    def __init__(
        self,
        context: StoreContext,
        table: ObjectTable,
        reclaimer: Reclaimer,
        memory: Memory,
        puller: Puller,
    ) -> None:
        self.full: Callable[[int], str] = lambda size: "the object store is full"
        self._context = context
        self._table = table
        self._reclaimer = reclaimer
        self._memory = memory
        self._puller = puller
        self._wants: dict[ObjectId, Want] = {}
        # Those requested that way whose bytes may be on their way, or waiting for room.
        self._eager: set[ObjectId] = set()

    # -- this node's processes ---------------------------------------------------------------------
    def on_fetch(self, process: Address, message: objects.Fetch) -> None:
        """A process needs objects here."""
        for oid in message.oids:
            least = message.attempts.get(oid, 0)
            obj = self._table.get(oid)
            if obj is not None and obj.attempt < least:
                self._table.drop(oid, least)
                obj = None
            if obj is not None and (obj.offset >= 0 or not message.pin or _is_mapped(obj)):
                self._give(obj, process, message.pin)
                continue
            want = self._wants.get(oid)
            if want is None:
                want = self._wants[oid] = Want(oid)
                want.waiters[process, message.pin] = None
                want.least = least
                self._begin(want)
            else:
                want.waiters[process, message.pin] = None
                if least > want.least:
                    self._raise(want, least)
                if message.pin and want.state == PULLING:
                    self._puller.hurry(oid)

    def on_fetch_cancel(self, process: Address, message: objects.FetchCancel) -> None:
        """A process no longer waits."""
        for oid in message.oids:
            want = self._wants.get(oid)
            if want is not None:
                want.waiters.pop((process, message.pin), None)
                if not want.waiters:
                    self._give_up(want)

    def on_process_died(self, process: Address) -> None:
        """Drop what a dead process waited for."""
        for want in list(self._wants.values()):
            want.waiters.pop((process, True), None)
            want.waiters.pop((process, False), None)
            if not want.waiters:
                self._give_up(want)

    def is_to_be_made(self, oids: Iterable[ObjectId]) -> bool:
        """Whether one of these objects is waited for here and lies nowhere yet, or no more."""
        wants = (self._wants.get(oid) for oid in oids)
        return any(want is not None and want.state == LOCATING for want in wants)

    # -- what the parts report ---------------------------------------------------------------------
    def arrived(self, obj: LocalObject) -> None:
        """An object is in memory here, or may be mapped on disk."""
        want = self._wants.get(obj.oid)
        if want is None or obj.attempt < want.least:
            return
        del self._wants[obj.oid]
        self._stop(want)
        for process, pin in want.waiters:
            self._give(obj, process, pin)

    def on_restored(self, obj: LocalObject, problem: str) -> None:
        """An object is back from disk, or could not be brought back."""
        if not problem:
            if self._table.get(obj.oid) is obj:
                self.arrived(obj)
            return
        want = self._wants.get(obj.oid)
        if want is None or want.state != RESTORING:
            return
        want.request = None
        if problem == FULL:
            self._no_room(want, obj.size)
        else:
            self._locate(want)

    def on_pull_ended(self, oid: ObjectId, size: int, full: bool) -> None:
        """A transfer ended without the object: no room here, or no copy there."""
        want = self._wants[oid]
        if full:
            self._context.post(owner_node_of(oid), objects.LocateCancel(oid, self._context.node))
            self._no_room(want, size)
        else:
            self._eager.discard(oid)
            want.avoid.add(want.source)
            self._locate_later(want)

    # -- other raylets -----------------------------------------------------------------------------
    def on_located(self, message: objects.Located) -> None:
        """Take the answer: where the copies are, or what there is instead of the object."""
        want = self._wants.get(message.oid)
        if want is None or want.state != LOCATING:
            return  # answers a question that was withdrawn
        if message.kind != objects.STORED:
            self._fail(want, message.kind, message.value, message.text)
            return
        if message.attempt < want.least:
            return  # as above: a later question is on its way
        gone = self._context.gone_nodes
        nodes = [n for n in message.nodes if n != self._context.node and n not in gone]
        if not nodes:
            self._locate_later(want)
            return
        want.state = PULLING
        want.attempt = message.attempt
        promising = [n for n in nodes if n not in want.avoid]
        if not promising:
            want.avoid.clear()
        want.source = self._context.random.choice(promising or nodes)
        others = len(nodes) > 1
        came = (message.value, message.edition) if message.value else None
        if came is None:
            self._eager.discard(want.oid)
        self._puller.start(
            want.oid, message.size, want.source, want.urgent, others, came, want.attempt
        )

    def on_dropped(self, oid: ObjectId, before: int) -> None:
        """What these attempts made is dropped, here and everywhere: ask the directory why."""
        want = self._wants.get(oid)
        if want is None:
            return
        is_pulled = want.state == PULLING and want.attempt < before
        if is_pulled or (want.state == RESTORING and self._table.get(oid) is None):
            self._stop(want)
            self._locate(want)

    def on_node_gone(self, node: NodeNumber, reason: str) -> None:
        """Its owners have ended, and with them their objects."""
        for want in [w for w in self._wants.values() if owner_node_of(w.oid) == node]:
            self._fail(want, objects.OWNER_DIED, text=reason)

    # -- details -----------------------------------------------------------------------------------
    def _begin(self, want: Want) -> None:
        obj = self._table.get(want.oid)
        if obj is None or obj.attempt < want.least:
            self._locate(want)
            return
        want.state = RESTORING
        if obj.size > self._memory.size:
            self._reclaimer.check(obj)
            return
        request = self._reclaimer.restore(obj)
        if self._wants.get(want.oid) is want:
            want.request = request

    def _raise(self, want: Want, least: int) -> None:
        """A reader knows of a later attempt than others did: earlier ones will do no longer."""
        want.least = least
        if want.state == LOCATING or (want.state == PULLING and want.attempt < least):
            self._stop(want)
            self._locate(want)

    def _locate(self, want: Want) -> None:
        node = owner_node_of(want.oid)
        if node in self._context.gone_nodes:
            self._fail(want, objects.OWNER_DIED, text=f"its owner's node {node} is gone")
            return
        want.state = LOCATING
        eager = len(self._eager) < _EAGER and node != self._context.node
        if eager:
            self._eager.add(want.oid)
        self._context.post(node, objects.Locate(want.oid, self._context.node, eager, want.least))

    def _locate_later(self, want: Want) -> None:
        want.state = PAUSED
        pause = want.pause
        want.pause = min(2 * pause, _PAUSE_MAX)
        self._context.timers.after(pause, lambda: self._resume(want))

    def _resume(self, want: Want) -> None:
        if self._wants.get(want.oid) is want and want.state == PAUSED:
            self._begin(want)

    def _give(self, obj: LocalObject, process: Address, pin: bool) -> None:
        if pin:
            self._table.pin(obj, process)
        if pin and obj.offset < 0:
            assert obj.disk is not None
            place = obj.disk
            answer = objects.Fetched(obj.oid, place.offset, obj.size, place.path, obj.attempt)
        else:
            offset = obj.offset if pin else -1
            answer = objects.Fetched(obj.oid, offset, obj.size, attempt=obj.attempt)
        self._answer(process, answer)

    def _answer(self, process: Address, answer: objects.Fetched | objects.FetchFailed) -> None:
        """Tell the processes that waited; what only the raylet itself wants has none."""
        if process != self._context.me:
            self._context.send(process, answer)

    def _no_room(self, want: Want, size: int) -> None:
        """Tell readers that it does not fit, and those that only looked that it exists."""
        del self._wants[want.oid]
        self._eager.discard(want.oid)
        text = self.full(size)
        for process, pin in want.waiters:
            if pin:
                answer: objects.FetchFailed | objects.Fetched
                answer = objects.FetchFailed(want.oid, objects.FULL, text=text)
            else:
                answer = objects.Fetched(want.oid, -1, size)
            self._answer(process, answer)

    def _fail(self, want: Want, kind: int, value: bytes = b"", text: str = "") -> None:
        del self._wants[want.oid]
        self._stop(want)
        for process, _ in want.waiters:
            self._answer(process, objects.FetchFailed(want.oid, kind, value, text))

    def _give_up(self, want: Want) -> None:
        del self._wants[want.oid]
        self._stop(want)
        if want.state != RESTORING:
            node = owner_node_of(want.oid)
            self._context.post(node, objects.LocateCancel(want.oid, self._context.node))

    def _stop(self, want: Want) -> None:
        self._eager.discard(want.oid)
        if want.request is not None:
            self._memory.withdraw(want.request)
            want.request = None
        self._puller.abort(want.oid)  # even if it is not pulled now, part of it may have been kept


def _is_mapped(obj: LocalObject) -> bool:
    """Whether somebody reads it from its mapping on disk: then others may as well."""
    return obj.pins > 0 and obj.disk is not None and obj.disk.checked
