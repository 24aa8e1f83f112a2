"""Which nodes are in the cluster: registration, heartbeats, silence, departure.

Used by `head`.  The only module that decides who is dead: a node whose connection breaks and whose
raylet has ended or does not come back within `REJOIN_S`, that is silent for `SILENT_S` seconds, or
that has not come back `RETURN_S` after the head itself has.
`head` passes on what a node's death means for actors and groups, and, perhaps later, that nothing
of it can still run (`endings`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from rayhpc.head.announcing import Announcer
from rayhpc.head.config import HeadFacts
from rayhpc.head.endings import Endings
from rayhpc.head.history import History
from rayhpc.head.ledger import Ledger, encode
from rayhpc.head.nodes import NodeRecord, Nodes
from rayhpc.wire.address import Address, NodeNumber, node_of, raylet_of
from rayhpc.wire.messages import cluster, listings
from rayhpc.wire.messages.leases import NodeGone

SILENT_S = cluster.NODE_SILENT_S
# How often a node is told that it is heard: it must know when it may have been declared dead.
ANSWER_S = 0.9
CHECK_S = 0.5
DRAINING = "it is draining"
# Both ends of a link, and all links of a node, break at the same time: reports are gathered this
# long.
GATHER_S = 0.5
# A head that was itself suspended this long (stopped, or its machine asleep) blames nobody.
AWAY_S = 2.0
# A raylet whose connection breaks while it lives dials anew at once.
REJOIN_S = 2.0
# A head that has come back gives nodes this long to do the same.  A raylet that cannot reach it has
# by then ended by itself (`HEAD_PATIENCE_S`): what is started again elsewhere has one life.
RETURN_S = cluster.HEAD_PATIENCE_S + 1.0
_BROKE = "its connection to the head broke"
_STARTED = b"started"


class Membership:
    """The arrival and departure of nodes.

    Args:
        facts: what all nodes must have in common.
        nodes: the table of nodes.
        send: sends a message.
        now: a monotonic clock, in seconds.
        wall: seconds since the epoch.
        on_gone: called with each node that is gone.
        on_ended: called with it once nothing of it can still run.
        ledger: keeps what must outlive this process.

    Attributes:
        started: when the cluster started, seconds since the epoch.
        history: what the nodes' heartbeats reported over time.
        disconnected: the members that have no connection, and by when they must have another.
    """

    def __init__(
        self,
        facts: HeadFacts,
        nodes: Nodes,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        on_gone: Callable[[NodeRecord], None],
        on_ended: Callable[[NodeNumber], None],
        ledger: Ledger,
    ) -> None:
        self._facts = facts
        self._nodes = nodes
        self._now = now
        self._wall = wall
        self._send = send
        self._life = ledger.life
        before = dict(ledger.rows("meta")).get(_STARTED)
        self.started = wall() if before is None else msgspec.msgpack.decode(before, type=float)
        ledger.put("meta", _STARTED, encode(self.started))
        self._on_gone = on_gone
        self._on_ended = on_ended
        self._announcer = Announcer(nodes, send, now)
        # In the order they were last heard from, so that only the first entry must be checked.
        self._heard: dict[NodeNumber, float] = {}
        # Why, when they were last heard, and whether their connection has broken.
        self._lost: dict[NodeNumber, tuple[str, float, bool]] = {}
        self.disconnected: dict[NodeNumber, float] = {}
        self._endings = Endings(now)
        for node in nodes.dead:  # when they were heard was known to an earlier life of the head
            self._endings.dead(node.number, now(), broken=False, orderly=False)
        self._broken: dict[frozenset[NodeNumber], float] = {}
        self._checked = now()
        # Those that an earlier life of the head knew and that have not come back.
        self._awaited = set(nodes.alive)
        self._return_by = now() + RETURN_S
        self.history = History()

    # -- joining ---------------------------------------------------------------------------------
    def join(
        self, message: cluster.RegisterNode
    ) -> cluster.Registered | cluster.RegistrationRefused:
        """Admit a node, or say why not."""
        name = message.info.hostname or message.info.ip
        reason = self._mismatch(message, name) or self._known(message.info.node_id, name)
        if reason:
            return cluster.RegistrationRefused(reason)
        # One that is known was admitted, but the answer never reached it.
        known = self._nodes.by_id(message.info.node_id)
        node = known or self._nodes.admit(message.info, self._wall())
        self._present(node.number)
        if message.clock:
            node.skew = message.clock - self._wall()
        self._announcer.joined(node)
        infos = [x.info for x in self._nodes.alive.values()]
        return cluster.Registered(node.number, infos, self.started, self._life)

    def rejoin(
        self, message: cluster.RejoinNode, received: int
    ) -> cluster.Rejoined | cluster.RegistrationRefused | NodeGone:
        """A node has lost its connection to the head, and asks to be taken back.

        Args:
            message: what it says.
            received: how many of its messages are on disk.
        """
        reason = self._mismatch(message, f"node {message.number}")
        if reason:
            return cluster.RegistrationRefused(reason)
        number, node = message.number, self._nodes.by_id(message.node_id)
        if node is None or node.number != number:
            return NodeGone(number, "the head does not know this node")
        if number not in self._awaited and number not in self._heard:
            return self._too_late(node)
        self._present(number)
        node.report(message.usage)
        self._announcer.joined(node)
        infos = [x.info for x in self._nodes.alive.values()]
        return cluster.Rejoined(received, self._life, infos, message.sent)

    def _present(self, number: NodeNumber) -> None:
        """A member has a connection, and has just been heard."""
        self._awaited.discard(number)
        self.disconnected.pop(number, None)
        self._heard.pop(number, None)
        self._heard[number] = self._now()

    def _too_late(self, node: NodeRecord) -> NodeGone:
        """A node asks to be taken back whose work is given to others: it is alive, and must end."""
        number = node.number
        self._endings.heard(number)
        reason = node.ended
        if number in self._lost:
            reason, heard, _ = self._lost[number]
            self._lost[number] = reason, heard, False
        return NodeGone(number, reason)

    def _mismatch(self, message: cluster.RegisterNode | cluster.RejoinNode, name: str) -> str:
        mine = self._facts
        if message.cluster_id != mine.cluster_id:
            return (
                f"This head serves cluster {mine.cluster_id[:8]}, but {name} has the key of "
                f"cluster {message.cluster_id[:8]}. Give it this cluster's key file (--key-file)."
            )
        if message.version != mine.version or message.protocol != cluster.PROTOCOL:
            return (
                f"The head runs rayhpc {mine.version} (protocol {cluster.PROTOCOL}), {name} runs "
                f"rayhpc {message.version} (protocol {message.protocol}). Install the same version "
                "on all nodes, ideally in one shared environment."
            )
        if message.python != mine.python:
            return (
                f"The head runs Python {mine.python}, {name} runs Python {message.python}; pickled "
                f"functions cannot pass between them. Start the node with Python {mine.python}."
            )
        return ""

    def _known(self, node_id: str, name: str) -> str:
        """Why a node that has registered before must not do so again; empty: it may."""
        known = self._nodes.by_id(node_id)
        if known is None or known.number in self._awaited or known.number in self.disconnected:
            return ""
        if known.ended:
            return (
                f"Node {known.number} ({name}) was declared dead: {known.ended}. Its work has been "
                "given to others; start it again to join as a new node."
            )
        return f"Node {known.number} ({name}) is already registered. Start it again."

    # -- present ----------------------------------------------------------------------------------
    def heard(self, number: NodeNumber) -> bool:
        """A node has sent something; False if it is not (any longer) a member."""
        if self._heard.pop(number, None) is None:
            return False
        self._heard[number] = self._now()
        return True

    def on_heartbeat(self, source: Address, message: cluster.Heartbeat) -> None:
        """A node is alive and may have news of its resources."""
        node = self._nodes.alive[node_of(source)]
        node.last = message
        self._answer(node, message.sent)
        self._heard_of(node, message)
        if message.usage is None:
            return
        node.report(message.usage)
        if message.usage.draining and not node.leaving:
            node.leaving = DRAINING
            node.touch()
        elif not message.usage.draining and node.leaving == DRAINING:
            node.leaving = ""
            node.touch()
        self._nodes.grown.add(node.number)
        self._announcer.changed(node.number)

    def _heard_of(self, node: NodeRecord, message: cluster.Heartbeat) -> None:
        """Record what it reports for later queries."""
        usage = message.usage or node.usage
        sample = listings.NodeSample(
            self._wall(),
            usage.available.get("CPU", 0),
            usage.available.get("GPU", 0),
            message.store_used,
            message.store_spilled,
            usage.pending,
            message.moved,
            message.memory,
            message.memory_limit,
        )
        self.history.add(node.number, sample)

    def _answer(self, node: NodeRecord, sent: float) -> None:
        # By the node's clock: those that have piled up while the head was suspended count, too.
        if sent - node.answered >= ANSWER_S:
            node.answered = sent
            self._send(node.raylet, cluster.HeadAlive(heard=sent))

    def refuse(self, number: NodeNumber) -> None:
        """A node that was declared dead is still sending: it must end, with its workers."""
        self._endings.heard(number)
        reason = "its work has been given to others; start it again to join as a new node"
        self._send(raylet_of(number), NodeGone(number, reason))

    def on_leave(self, source: Address, message: cluster.Leave) -> None:
        """A node is about to leave: nothing new is placed on it, and the others are told."""
        node = self._nodes.alive[node_of(source)]
        node.leaving = message.reason or "it leaves"
        node.touch()
        node.usage = msgspec.structs.replace(node.usage, draining=True)
        self._announcer.changed(node.number)

    # -- ending ----------------------------------------------------------------------------------
    def on_link_broken(self, source: Address, message: cluster.LinkBroken) -> None:
        """Two living nodes cannot reach each other: one of them has to go."""
        link = frozenset((node_of(source), message.node))
        if link <= self._nodes.alive.keys():
            self._broken.setdefault(link, self._now())

    def _judge_links(self) -> None:
        """Of the nodes with broken links, those with the most go, but never the head's own.

        One that the head cannot reach either goes first.
        """
        now = self._now()
        while self._broken and now - next(iter(self._broken.values())) >= GATHER_S:
            count = Counter(number for link in self._broken for number in link)
            number = max(
                count, key=lambda x: (not self._is_heads(x), self._is_absent(x), count[x], x)
            )
            others = sorted({x for link in self._broken if number in link for x in link} - {number})
            shown = ", ".join(str(x) for x in others)
            self._lose(number, f"its link to node {shown} broke, though both lived", broken=False)
            self._broken = {k: t for k, t in self._broken.items() if number not in k}

    def _is_absent(self, number: NodeNumber) -> bool:
        return number in self._awaited or number in self.disconnected

    def _is_heads(self, number: NodeNumber) -> bool:
        node = self._nodes.alive.get(number)
        return node is not None and node.info.is_head

    def lost(self, number: NodeNumber) -> None:
        """A node's connection has broken: its raylet has ended, or dials anew."""
        self._endings.disconnected(number)
        if number not in self._heard:
            return
        if self._nodes.alive[number].leaving in ("", DRAINING):
            self.disconnected[number] = self._now() + REJOIN_S
        else:  # it has said so
            self._lose(number, _BROKE, broken=True)

    def raylet_ended(self, number: NodeNumber) -> None:
        """Nothing listens any more where the raylet of a disconnected node did."""
        if number in self.disconnected:
            self._lose(number, f"{_BROKE}, and its raylet has ended", broken=True)

    def _lose(self, number: NodeNumber, reason: str, *, broken: bool) -> None:
        self.disconnected.pop(number, None)
        heard = self._heard.pop(number, None)
        if number in self._awaited:
            # It has heard nothing of a head since before this one began.
            self._awaited.discard(number)
            heard = self._return_by - RETURN_S
        if heard is not None:
            self._lost[number] = reason, heard, broken

    def advance(self) -> None:
        """Declare silent nodes dead and send the news."""
        now = self._now()
        if now - self._checked > AWAY_S:
            self._heard = dict.fromkeys(self._heard, now)
            self.disconnected = dict.fromkeys(self.disconnected, now + REJOIN_S)
        self._checked = now
        while self._heard:
            number, when = next(iter(self._heard.items()))
            if now - when < SILENT_S:
                break
            self._lose(number, f"nothing was heard from it for {SILENT_S:g} s", broken=False)
        for number in [x for x, by in self.disconnected.items() if by <= now]:
            reason = f"{_BROKE}, and it did not come back within {REJOIN_S:g} s"
            self._lose(number, reason, broken=False)
        if self._awaited and now >= self._return_by:
            reason = f"it did not come back within {RETURN_S:g} s after the head had"
            for number in sorted(self._awaited):
                self._lose(number, reason, broken=False)
        self._judge_links()
        self._bury_lost()
        for number in self._endings.over():
            self._on_ended(number)
        self._announcer.advance()

    def _bury_lost(self) -> None:
        """Many may die at once (say, with a switch): all are dead before anything follows."""
        lost, self._lost = self._lost, {}
        buried = [self._nodes.alive[number] for number in lost]
        together: dict[str, list[NodeNumber]] = {}
        for link in [x for x in self._broken if not x.isdisjoint(lost)]:
            del self._broken[link]
        for node in buried:
            reason, heard, broken = lost[node.number]
            if node.leaving:
                reason = f"it left ({node.leaving})"
            orderly = bool(node.leaving)
            self._endings.dead(node.number, heard, broken=broken, orderly=orderly)
            self._nodes.bury(node, reason, self._wall())
            together.setdefault(reason, []).append(node.number)
        for reason, numbers in together.items():
            self._announcer.gone(numbers, reason)
            for number in numbers:
                # It may be alive and connected: two incarnations of an actor must not run side by
                # side.
                self._send(raylet_of(number), NodeGone(number, reason))
        for node in buried:
            self._on_gone(node)

    def deadline(self) -> float:
        """When `advance` must next be called at the latest."""
        if self._lost:
            return self._checked
        check = min(self._checked + CHECK_S, self._endings.deadline())
        check = min([check, *self.disconnected.values()])
        news = self._announcer.deadline()
        return check if news is None else min(check, news)
