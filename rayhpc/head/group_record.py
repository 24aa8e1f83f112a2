"""One placement group: where its bundles lie, and the attempt that is under way.

Used by `groups`, which decides; this only keeps the books consistent.
"""

from __future__ import annotations

from collections.abc import Iterable

from rayhpc.head.bundles import Bundle, Places
from rayhpc.wire.address import NodeNumber, ObjectId
from rayhpc.wire.feasibility import add, conditions_of, subtract, sum_of
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.common import Resources


class GroupRecord:
    """One group.

    `nodes` has each bundle's node (0: none), `by_node` the same the other way round.  `creator`
    is the actor that made it (empty: none).  `attempt` numbers the attempt under way (0: none):
    `chosen` are the bundles each node was asked for, `asked` those that have not answered with
    the number of the order, `ready` those that have set them aside; `refused` says that it has
    failed.  `stale` says that it is worth a try, `explained` for which nodes (their version)
    `text` says why it waits, `hopeless` that these can never hold it.  `since` is when it could
    have been placed first (None: not yet), `settles` that it has been refused since then.  `used`
    and `inside` are what actors hold of a node's bundles, and how many they are.  `begun` is when
    it was asked for, `took` how long it was until all bundles were placed first (0: not yet),
    `placings` how often it was tried to place some.
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

    # -- bundles ---------------------------------------------------------------------------------
    def missing(self) -> list[int]:
        """The bundles that have no node."""
        return [index for index, number in enumerate(self.nodes) if not number]

    def bundle(self, index: int) -> Bundle:
        """A bundle as `bundles.choose` wants it."""
        selectors = self.made.selectors
        conditions = conditions_of(selectors[index]) if index < len(selectors) else []
        return Bundle(index, self.made.bundles[index], tuple(conditions))

    def amounts(self, indexes: Iterable[int]) -> Resources:
        """What some of its bundles take together."""
        return sum_of(self.made.bundles[index] for index in indexes)

    def touches(self, number: NodeNumber) -> bool:
        """Whether the node has, or was asked for, bundles of it."""
        return number in self.by_node or number in self.chosen

    def counts(self) -> dict[NodeNumber, int]:
        """How many bundles each node has."""
        return {number: len(indexes) for number, indexes in self.by_node.items()}

    def all_nodes(self) -> list[NodeNumber]:
        """All such nodes."""
        return list(dict.fromkeys([*self.by_node, *self.chosen]))

    def lose(self, number: NodeNumber) -> bool:
        """A node is gone; whether it had bundles."""
        lost = self.by_node.pop(number, None)
        self.used.pop(number, None)
        self.inside.pop(number, None)
        self.since, self.settles = None, False
        for index in lost or ():
            self.nodes[index] = 0
        return lost is not None

    # -- attempts --------------------------------------------------------------------------------
    def start_attempt(self, number: int, places: Places) -> None:
        """Bundles are about to be asked for."""
        self.attempt = number
        self.refused = False
        for index, node in sorted(places.items()):
            self.chosen.setdefault(node.number, []).append(index)

    def adopt(self) -> None:
        """What was asked for is set aside, so it is ours."""
        for number, indexes in self.chosen.items():
            self.by_node.setdefault(number, set()).update(indexes)
            for index in indexes:
                self.nodes[index] = number

    def end_attempt(self) -> None:
        """The attempt is over, either way."""
        self.attempt = 0
        self.chosen = {}
        self.asked = {}
        self.ready = set()

    # -- actors inside ---------------------------------------------------------------------------
    def room(self, number: NodeNumber) -> Resources:
        """What actors may still take of a node's bundles."""
        room: Resources = {}
        for index in self.by_node.get(number, ()):
            add(room, self.made.bundles[index])
        subtract(room, self.used.get(number, {}))
        return room

    def take(self, number: NodeNumber, holding: Resources) -> None:
        """An actor is sent there."""
        add(self.used.setdefault(number, {}), holding)
        self.inside[number] = self.inside.get(number, 0) + 1

    def give_back(self, number: NodeNumber, holding: Resources) -> None:
        """An actor is gone from there."""
        if number in self.inside:
            subtract(self.used[number], holding)
            self.inside[number] -= 1

    # -- as others see it ------------------------------------------------------------------------
    def message(self) -> actors.GroupIs:
        """What watchers are told."""
        nodes = list(self.nodes) if self.state == actors.GROUP_CREATED else []
        hopeless = self.hopeless and self.state != actors.GROUP_CREATED
        return actors.GroupIs(
            self.id, self.state, nodes, self.made.bundles, self.text, hopeless
        )

    def row(self) -> actors.GroupRow:
        """What tables show."""
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
