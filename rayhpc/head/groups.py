"""Placement groups: bundles reserved together, all or nothing.

Used by `head`; `starting` asks it where an actor of a group may go.  A group is placed in two
phases: the chosen raylets are asked to reserve the bundles; if one cannot, the others release
theirs and the group is tried again when room may have grown.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

import msgspec

from rayhpc.head.bundles import Bundle, Places, Used, choose, crowding
from rayhpc.head.group_reasons import why_never
from rayhpc.head.group_record import GroupRecord
from rayhpc.head.ledger import Ledger
from rayhpc.head.nodes import NodeRecord, Nodes
from rayhpc.head.watchers import Watchers
from rayhpc.wire.address import Address, NodeNumber, ObjectId, node_of, owner_of
from rayhpc.wire.feasibility import fits, in_words, sum_of
from rayhpc.wire.messages import actors
from rayhpc.wire.messages.common import Resources, Strategy
from rayhpc.wire.messages.load import WaitingGroup

REMOVED_KEPT = 10_000
RETRY_S = 0.02
RETRY_MAX_S = 0.1
# How long a SPREAD group waits for nodes that could hold its bundles but appear to be in use: a
# raylet's report may be late, or what was there may just be ending.
SPREAD_WAIT_S = 0.5
# What one attempt costs per node of the cluster (measured), and its share of our time.
TRY_S = 4e-6
SHARE = 0.1
_LIFE_SHIFT = 40


class Verdict(enum.Enum):
    """Whether an actor may start in a group: now, later, not as requested, or never."""

    OPEN = "open"
    WAIT = "wait"
    NEVER = "never"
    GONE = "gone"


class Groups:
    """All placement groups.

    Args:
        nodes: the table of nodes.
        send: sends a message.
        now: a monotonic clock, in seconds.
        creator_of: the actor running in a process (empty: none).
        is_gone: whether a process is known to have ended.
        on_changed: called with a group's id when actors may now start in it.
        on_removed: called with the id of a group that has been removed.
        ledger: keeps them.
    """

    def __init__(
        self,
        nodes: Nodes,
        send: Callable[[Address, msgspec.Struct], None],
        now: Callable[[], float],
        creator_of: Callable[[Address], ObjectId],
        is_gone: Callable[[Address], bool],
        on_changed: Callable[[bytes], None],
        on_removed: Callable[[bytes], None],
        ledger: Ledger,
    ) -> None:
        self._ledger = ledger
        self._nodes = nodes
        self._send = send
        self._now = now
        self._creator_of = creator_of
        self._is_gone = is_gone
        self._on_changed = on_changed
        self._on_removed = on_removed
        self._watchers = Watchers(ledger, "group_watchers")
        self._groups: dict[bytes, GroupRecord] = {}
        self._names: dict[tuple[str, str], GroupRecord] = {}
        # Groups with bundles to place and no attempt in progress.
        self._open: dict[bytes, GroupRecord] = {}
        self._removed: dict[bytes, GroupRecord] = {}
        # No attempt of an earlier life has such a number.
        self._attempts = ledger.life << _LIFE_SHIFT
        self._restore()

    def _restore(self) -> None:
        """What an earlier life of the head knew."""
        for _, row in self._ledger.rows("groups"):
            group = GroupRecord.restored(row)
            if group.state == actors.GROUP_REMOVED:
                self._removed[group.id] = group
                continue
            self._groups[group.id] = group
            if group.made.name:
                self._names[group.made.namespace, group.made.name] = group
            if group.missing() and not group.attempt:
                self._open[group.id] = group
        for group_id in self._watchers.subjects():
            if self._known(group_id) is None:
                self._watchers.expect(group_id)

    # -- requests of processes -------------------------------------------------------------------
    def on_create(self, _: Address, message: actors.CreateGroup) -> None:
        """Create a group; watchers are told its state."""
        if self._known(message.group) is not None:
            return
        group = GroupRecord(message, self._creator_of(message.creator), self._now())
        self._watchers.came(group.id)
        self._groups[group.id] = group
        self._touch(group)
        key = (message.namespace, message.name)
        if message.name and key in self._names:
            self._end(group, f"the name {message.name!r} is taken by another placement group")
            return
        if message.name:
            self._names[key] = group
        self._open[group.id] = group
        if message.creator:
            # Told without having asked: a group that cannot be placed is worth a warning.
            self._watchers.add(group.id, message.creator)
        self._tell(group)

    def on_watch(self, source: Address, message: actors.WatchGroup) -> None:
        """Report a group's state to a process, now and at each change."""
        group = self._known(message.group)
        if group is not None:
            self._send(source, group.message())
            if group.state != actors.GROUP_REMOVED:
                self._watchers.add(group.id, source)
        elif self._is_gone(owner_of(message.group)):
            self._send(source, _unknown(message.group))
        else:
            self._watchers.expect(message.group)
            self._watchers.add(message.group, source)

    def on_remove(self, _: Address, message: actors.RemoveGroup) -> None:
        """Remove a group and release its bundles."""
        group = self._groups.get(message.group)
        if group is not None:
            self._end(group, "it was removed")

    # -- what raylets report ---------------------------------------------------------------------
    def on_prepared(self, source: Address, message: actors.BundlesPrepared) -> None:
        """A raylet has reserved its bundles, or has no room."""
        group = self._groups.get(message.group)
        number = node_of(source)
        node = self._nodes.alive.get(number)
        if group is None and message.ok and node is not None:
            # Removed in the meantime; the raylet may have seen the removal before it had room.
            self._release(node, actors.ReleaseBundles(message.group, True), {})
        if group is None or group.attempt != message.attempt or number not in group.asked:
            return
        order = group.asked.pop(number)
        self._touch(group)
        if message.ok:
            group.ready.add(number)
        else:
            group.refused = True
            self._nodes.alive[number].drop(order)
            self._nodes.grown.add(number)
        if not group.asked:
            self._conclude(group)

    # -- deaths around them ----------------------------------------------------------------------
    def node_gone(self, node: NodeRecord) -> None:
        """A node is dead: the bundles it held must be placed again."""
        self._never_came(self._watchers.node_gone(node.number))
        for group in list(self._groups.values()):
            if group.touches(node.number):
                self._lost_node(group, node)

    def _lost_node(self, group: GroupRecord, node: NodeRecord) -> None:
        self._touch(group)
        was_asked = group.asked.pop(node.number, None) is not None
        if was_asked or node.number in group.ready:
            group.ready.discard(node.number)
            group.refused = True
        if group.lose(node.number):
            group.state = actors.GROUP_RESCHEDULING
            group.text = f"node {node.info.ip} is gone ({node.ended}); its bundles are placed again"
            self._tell(group)
            # At once: in an idle cluster no node would report more room.
            group.stale = True
            if not group.attempt:
                self._open[group.id] = group
        if was_asked and not group.asked:
            self._conclude(group)

    def process_gone(self, address: Address) -> None:
        """A process has ended: it no longer watches or creates groups."""
        self._never_came(self._watchers.process_gone(address))

    def _never_came(self, expected: list[bytes]) -> None:
        for group_id in expected:
            for watcher in self._watchers.of(group_id):
                self._send(watcher, _unknown(group_id))
            self._watchers.forget(group_id)
            self._on_removed(group_id)

    def actor_dead(self, actor: ObjectId) -> None:
        """An actor has died for good: groups that it created end with it."""
        self._end_all((g for g in self._groups.values() if g.creator == actor), "its creator died")

    def job_over(self, job: int, is_living: Callable[[ObjectId], bool]) -> None:
        """A job has ended, and with it its groups, except those of actors that live on."""
        ending = (
            g
            for g in self._groups.values()
            if g.made.job == job and not (g.creator and is_living(g.creator))
        )
        self._end_all(ending, "its job has ended")

    def _end_all(self, groups: Iterable[GroupRecord], reason: str) -> None:
        for group in list(groups):
            if not group.made.detached:
                self._end(group, reason)

    # -- actors inside ---------------------------------------------------------------------------
    def seats(
        self, strategy: Strategy, placing: Resources
    ) -> tuple[Verdict, str, list[NodeRecord]]:
        """Where an actor of a group may go: a verdict, the reason, and the candidate nodes."""
        group = self._known(strategy.group)
        if group is None:
            if self._is_gone(owner_of(strategy.group)):
                return Verdict.GONE, "its placement group is not known", []
            self._watchers.expect(strategy.group)
            return Verdict.WAIT, "its placement group is not known yet", []
        if group.state == actors.GROUP_REMOVED:
            return Verdict.GONE, f"its placement group is gone: {group.text}", []
        bundle = strategy.bundle
        if bundle >= len(group.nodes):
            return Verdict.GONE, f"its placement group has no bundle {bundle}", []
        bundles = group.made.bundles if bundle < 0 else [group.made.bundles[bundle]]
        if not any(fits(resources, placing) for resources in bundles):
            demand = in_words(placing)
            return Verdict.NEVER, f"{demand} is more than a bundle of its placement group has", []
        numbers = group.by_node if bundle < 0 else [group.nodes[bundle]]
        nodes = [node for x in numbers if (node := self._nodes.alive.get(x)) is not None]
        if nodes:
            return Verdict.OPEN, "it waits for room in its placement group", nodes
        return Verdict.WAIT, f"its placement group is {group.state}", []

    def rank(
        self, strategy: Strategy, number: NodeNumber, placing: Resources, holding: Resources
    ) -> tuple[float, ...] | None:
        """How well a group's node suits one of its actors; None: no room in the head's account."""
        group = self._groups[strategy.group]
        here = group.by_node.get(number, set())
        if strategy.bundle >= 0:
            here = here & {strategy.bundle}
        if not any(fits(group.made.bundles[x], placing) for x in here):
            return None
        if not fits(group.room(number), holding):
            return None
        fitting = [x for i in here if fits(x := group.made.bundles[i], placing)]
        wasted = "GPU" not in placing and all("GPU" in x for x in fitting)
        return float(wasted), float(group.inside.get(number, 0))

    def take(self, group_id: bytes, number: NodeNumber, holding: Resources) -> None:
        """An actor is sent to a node of its group."""
        if (group := self._groups.get(group_id)) is not None:
            group.take(number, holding)

    def give_back(self, group_id: bytes, number: NodeNumber, holding: Resources) -> None:
        """An actor of a group has left its node."""
        group = self._groups.get(group_id)
        if group is not None:
            group.give_back(number, holding)

    # -- tables ----------------------------------------------------------------------------------
    def rows(self) -> list[actors.GroupRow]:
        """All groups, including removed ones, as rows for tables."""
        return [g.row() for table in (self._removed, self._groups) for g in table.values()]

    def counts(self) -> dict[str, int]:
        """How many groups are in each state."""
        counts = {actors.GROUP_REMOVED: len(self._removed)} if self._removed else {}
        for group in self._groups.values():
            counts[group.state] = counts.get(group.state, 0) + 1
        return counts

    def pending(self) -> list[tuple[Resources, str]]:
        """The bundles waiting for a node, and why."""
        return [
            (group.made.bundles[index], group.text or "its placement group is being placed")
            for group in self._groups.values()
            for index in group.missing()
        ]

    def waiting(self) -> list[WaitingGroup]:
        """The groups with bundles that have no node."""
        found = [(group, group.missing()) for group in self._groups.values()]
        return [group.waiting(missing) for group, missing in found if missing]

    # -- time ------------------------------------------------------------------------------------
    def advance(self) -> None:
        """Try to place groups that are not placed."""
        now = self._now()
        grown = bool(self._nodes.grown)
        for group in list(self._open.values()):
            group.stale = group.stale or grown
            if group.stale and now >= group.next_try:
                self._try(group)

    def deadline(self) -> float | None:
        """When `advance` next has something to do."""
        return min((g.next_try for g in self._open.values() if g.stale), default=None)

    # -- placing ---------------------------------------------------------------------------------
    def _try(self, group: GroupRecord) -> None:
        wanted = [group.bundle(index) for index in group.missing()]
        used = group.counts()
        nodes = self._nodes.open()
        places = self._choose(group, wanted, nodes, used)
        group.stale = False
        if places is None:
            # Nothing was tried: looks in a row that find no room count as one attempt.
            group.placings += not group.tries
            group.since, group.settles = None, False
            self._rest(group)
            self._explain(group, wanted, used)
            return
        if self._is_early(group, places, wanted, nodes, used):
            group.stale = True
            return
        del self._open[group.id]
        self._attempts += 1
        self._touch(group)
        group.placings += 1
        group.start_attempt(self._attempts, places)
        for number, indexes in group.chosen.items():
            resources = {index: group.made.bundles[index] for index in indexes}
            node = self._nodes.alive[number]
            group.asked[number] = node.charge(sum_of(resources.values()))
            message = actors.PrepareBundles(group.id, group.attempt, resources)
            self._send(node.raylet, message)

    def _choose(
        self, group: GroupRecord, wanted: list[Bundle], nodes: list[NodeRecord], used: Used
    ) -> Places | None:
        """Where it fits now, or where raylets can recall what tasks have."""
        strategy = group.made.strategy
        places = choose(strategy, wanted, nodes, _free, used)
        if places is None:
            return choose(strategy, wanted, nodes, NodeRecord.without_tasks, used)
        # Once a node failed to free room in time, tasks run long: then bundles may share a node.
        if strategy == "SPREAD" and not group.settles and not _is_spread(places, used):
            wider = choose(strategy, wanted, nodes, NodeRecord.without_tasks, used)
            if wider is not None and crowding(wider, used) < crowding(places, used):
                return wider
        return places

    def _is_early(
        self,
        group: GroupRecord,
        places: Places,
        wanted: list[Bundle],
        nodes: list[NodeRecord],
        used: Used,
    ) -> bool:
        """Whether bundles would share a node that may soon have a node each."""
        if group.made.strategy != "SPREAD" or group.settles or _is_spread(places, used):
            return False
        now = self._now()
        group.since = now if group.since is None else group.since
        until = group.since + SPREAD_WAIT_S
        best = choose("SPREAD", wanted, nodes, _total, used) if now < until else None
        if best is None or crowding(best, used) >= crowding(places, used):
            return False
        self._rest(group)
        group.next_try = min(group.next_try, until)
        return True

    def _conclude(self, group: GroupRecord) -> None:
        """All raylets have answered (or are gone)."""
        self._touch(group)
        if group.refused:
            for number in group.ready:
                chosen = group.chosen[number]
                message = actors.ReleaseBundles(group.id, False, chosen)
                self._release(self._nodes.alive[number], message, group.amounts(chosen))
            group.end_attempt()
            group.stale = group.settles = True
            self._rest(group)
            self._open[group.id] = group
            return
        group.adopt()
        group.end_attempt()
        group.tries, group.since, group.settles = 0, None, False
        if group.missing():
            self._open[group.id] = group
            group.stale = True
        else:
            group.state, group.text = actors.GROUP_CREATED, ""
            group.took = group.took or self._now() - group.begun
            self._tell(group)
        self._on_changed(group.id)

    def _rest(self, group: GroupRecord) -> None:
        longest = max(RETRY_MAX_S, len(self._open) * len(self._nodes.alive) * TRY_S / SHARE)
        group.next_try = self._now() + min(longest, RETRY_S * 2 ** min(group.tries, 20))
        group.tries += 1

    def _explain(self, group: GroupRecord, wanted: list[Bundle], used: Used) -> None:
        """Say why a group waits: for room, or for nodes that the cluster does not have."""
        if group.explained == self._nodes.version:
            return
        group.explained = self._nodes.version
        nodes = list(self._nodes.alive.values())
        strategy = group.made.strategy
        group.hopeless = choose(strategy, wanted, nodes, _total, used) is None
        if not group.hopeless:
            text = "it waits for nodes with enough room"
        else:
            text = why_never(strategy, wanted, nodes, len(used))
        if text != group.text:
            group.text = text
            self._touch(group)
            self._tell(group)

    # -- removal ---------------------------------------------------------------------------------
    def _end(self, group: GroupRecord, reason: str) -> None:
        if self._groups.pop(group.id, None) is None:
            return
        self._touch(group)
        self._removed[group.id] = group
        if len(self._removed) > REMOVED_KEPT:
            oldest = next(iter(self._removed))
            del self._removed[oldest]
            self._ledger.drop("groups", oldest)
        group.state, group.text = actors.GROUP_REMOVED, reason
        self._open.pop(group.id, None)
        if self._names.get((group.made.namespace, group.made.name)) is group:
            del self._names[group.made.namespace, group.made.name]
        self._on_removed(group.id)
        for number in group.all_nodes():
            node = self._nodes.alive.get(number)
            if node is not None:
                indexes = [*group.by_node.get(number, ()), *group.chosen.get(number, ())]
                message = actors.ReleaseBundles(group.id, True)
                self._release(node, message, group.amounts(indexes))
        group.end_attempt()
        group.by_node.clear()
        group.nodes = [0] * len(group.nodes)
        self._tell(group)
        self._watchers.forget(group.id)

    def _release(
        self, node: NodeRecord, message: actors.ReleaseBundles, amounts: Resources
    ) -> None:
        """Have bundles released; whatever the raylet receives after this finds them free."""
        node.charge({name: -amount for name, amount in amounts.items()})
        self._nodes.grown.add(node.number)
        self._send(node.raylet, message)

    def _touch(self, group: GroupRecord) -> None:
        self._ledger.touch("groups", group.id, group.saved)

    def _known(self, group_id: bytes) -> GroupRecord | None:
        return self._groups.get(group_id) or self._removed.get(group_id)

    def _tell(self, group: GroupRecord) -> None:
        watchers = self._watchers.of(group.id)
        if watchers:
            message = group.message()
            for watcher in watchers:
                self._send(watcher, message)


def _unknown(group: bytes) -> actors.GroupIs:
    return actors.GroupIs(group, actors.GROUP_REMOVED, text="there is no such placement group")


def _free(node: NodeRecord) -> Resources:
    return node.free


def _total(node: NodeRecord) -> Resources:
    return node.info.total


def _is_spread(places: Places, used: Used) -> bool:
    """Whether no two bundles of the group would share a node."""
    return crowding(places, used) == len(places) + sum(used.values())
