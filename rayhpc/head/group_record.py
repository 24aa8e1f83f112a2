"""One placement group: where its bundles are, and the attempt in progress.

Used by `groups`, which makes the decisions; this only keeps the record consistent.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rayhpc.head.bundles import Bundle, Places
from rayhpc.head.ledger import encode
from rayhpc.wire.address import NodeNumber, ObjectId
from rayhpc.wire.feasibility import add, conditions_of, subtract, sum_of
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.common import Resources
from rayhpc.wire.messages.load import WaitingGroup


class SavedGroup(msgspec.Struct, array_like=True):
    """What is kept of a group, as in `GroupRecord`."""

    made: actors.CreateGroup
    creator: ObjectId
    begun: float
    took: float
    placings: int
    state: str
    text: str
    hopeless: bool
    nodes: list[NodeNumber]
    attempt: int
    chosen: dict[NodeNumber, list[int]]
    asked: dict[NodeNumber, int]
    ready: set[NodeNumber]
    refused: bool
    settles: bool


class GroupRecord:
    """One group.

    `nodes` has each bundle's node (0: none), `by_node` the inverse.  `creator` is the actor that
    created it (empty: none).  `attempt` numbers the attempt in progress (0: none): `chosen` are the
    bundles requested from each node, `asked` the nodes that have not answered, with the number of
    the order, `ready` those that have reserved theirs; `refused` says that the attempt has failed.
    `stale` says that another attempt is worthwhile.  `explained` is the version of the nodes for
    which `text` says why it waits and `hopeless` that they can never hold it.  `since` is when it
    could first have been placed (None: not yet), `settles` that it has been refused since.  `used`
    and `inside` are the resources that actors hold of a node's bundles, and the number of these
    actors.  `begun` is when it was requested, `took` the time until all bundles were first placed
    (0: not yet), `placings` the number of attempts.
    """

    __slots__ = (
        "asked",
        "attempt",
        "begun",
        "by_node",
        "chosen",
        "creator",
        "explained",
        "hopeless",
        "inside",
        "made",
        "next_try",
        "nodes",
        "placings",
        "ready",
        "refused",
        "settles",
        "since",
        "stale",
        "state",
        "text",
        "took",
        "tries",
        "used",
    )

    def __init__(self, made: actors.CreateGroup, creator: ObjectId, begun: float) -> None:
        self.begun = begun
        self.took = 0.0
        self.placings = 0
        self.made = made
        self.creator = creator
        self.state = actors.GROUP_PENDING
        self.text = ""
        self.explained = -1
        self.hopeless = False
        self.nodes: list[NodeNumber] = [0] * len(made.bundles)
        self.by_node: dict[NodeNumber, set[int]] = {}
        self.attempt = 0
        self.chosen: dict[NodeNumber, list[int]] = {}
        self.asked: dict[NodeNumber, int] = {}
        self.ready: set[NodeNumber] = set()
        self.refused = False
        self.stale = True
        self.since: float | None = None
        self.settles = False
        self.tries = 0
        self.next_try = 0.0
        self.used: dict[NodeNumber, Resources] = {}
        self.inside: dict[NodeNumber, int] = {}

    @property
    def id(self) -> bytes:
        """Its id."""
        return self.made.group

    # -- an earlier life of the head ---------------------------------------------------------------
    def saved(self) -> bytes:
        """What is kept of it."""
        return encode(SavedGroup(*(getattr(self, x) for x in SavedGroup.__struct_fields__)))

    @classmethod
    def restored(cls, row: bytes) -> GroupRecord:
        """The group that was kept in a row."""
        saved = _decode(row)
        group = cls(saved.made, saved.creator, saved.begun)
        for name in SavedGroup.__struct_fields__:
            setattr(group, name, getattr(saved, name))
        for index, number in enumerate(group.nodes):
            if number:
                group.by_node.setdefault(number, set()).add(index)
        return group

    # -- bundles ---------------------------------------------------------------------------------
    def missing(self) -> list[int]:
        """The bundles that have no node."""
        return [index for index, number in enumerate(self.nodes) if not number]

    def bundle(self, index: int) -> Bundle:
        """A bundle in the form `bundles.choose` takes."""
        selectors = self.made.selectors
        conditions = conditions_of(selectors[index]) if index < len(selectors) else []
        return Bundle(index, self.made.bundles[index], tuple(conditions))

    def waiting(self, indexes: Iterable[int]) -> WaitingGroup:
        """These of its bundles in the form that says what the cluster waits for."""
        bundles = [self.bundle(index) for index in indexes]
        return WaitingGroup(
            [each.resources for each in bundles],
            self.made.strategy,
            [list(each.conditions) for each in bundles],
        )

    def amounts(self, indexes: Iterable[int]) -> Resources:
        """The total resources of some of its bundles."""
        return sum_of(self.made.bundles[index] for index in indexes)

    def touches(self, number: NodeNumber) -> bool:
        """Whether the node has bundles of it, or was asked for some."""
        return number in self.by_node or number in self.chosen

    def counts(self) -> dict[NodeNumber, int]:
        """The number of bundles on each node."""
        return {number: len(indexes) for number, indexes in self.by_node.items()}

    def all_nodes(self) -> list[NodeNumber]:
        """All nodes that have bundles of it, or were asked for some."""
        return list(dict.fromkeys([*self.by_node, *self.chosen]))

    def lose(self, number: NodeNumber) -> bool:
        """A node is gone; returns whether it had bundles."""
        lost = self.by_node.pop(number, None)
        self.used.pop(number, None)
        self.inside.pop(number, None)
        self.since, self.settles = None, False
        for index in lost or ():
            self.nodes[index] = 0
        return lost is not None

    # -- attempts --------------------------------------------------------------------------------
    def start_attempt(self, number: int, places: Places) -> None:
        """Bundles are about to be requested."""
        self.attempt = number
        self.refused = False
        for index, node in sorted(places.items()):
            self.chosen.setdefault(node.number, []).append(index)

    def adopt(self) -> None:
        """Everything requested has been reserved and is now part of the group."""
        for number, indexes in self.chosen.items():
            self.by_node.setdefault(number, set()).update(indexes)
            for index in indexes:
                self.nodes[index] = number

    def end_attempt(self) -> None:
        """The attempt is over, one way or the other."""
        self.attempt = 0
        self.chosen = {}
        self.asked = {}
        self.ready = set()

    # -- actors inside ---------------------------------------------------------------------------
    def room(self, number: NodeNumber) -> Resources:
        """What actors may still use of a node's bundles."""
        room: Resources = {}
        for index in self.by_node.get(number, ()):
            add(room, self.made.bundles[index])
        subtract(room, self.used.get(number, {}))
        return room

    def take(self, number: NodeNumber, holding: Resources) -> None:
        """An actor is sent to the node."""
        add(self.used.setdefault(number, {}), holding)
        self.inside[number] = self.inside.get(number, 0) + 1

    def give_back(self, number: NodeNumber, holding: Resources) -> None:
        """An actor has left the node."""
        if number in self.inside:
            subtract(self.used[number], holding)
            self.inside[number] -= 1

    # -- views ----------------------------------------------------------------------------------
    def message(self) -> actors.GroupIs:
        """What watchers are told."""
        nodes = list(self.nodes) if self.state == actors.GROUP_CREATED else []
        hopeless = self.hopeless and self.state != actors.GROUP_CREATED
        return actors.GroupIs(self.id, self.state, nodes, self.made.bundles, self.text, hopeless)

    def row(self) -> actors.GroupRow:
        """The row for tables."""
        made = self.made
        return actors.GroupRow(
            group=made.group,
            name=made.name,
            strategy=made.strategy,
            state=self.state,
            bundles=made.bundles,
            nodes=list(self.nodes),
            creator=made.creator,
            job=made.job,
            text=self.text,
            namespace=made.namespace,
            hopeless=self.hopeless,
            placings=self.placings,
            took=self.took,
        )


_decode = msgspec.msgpack.Decoder(SavedGroup).decode
