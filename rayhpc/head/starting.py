"""Sends waiting actors to nodes, and says in words why the remaining ones wait.

Used by `actors`.  Keeps account of what each started actor takes from its node or from its
placement group's bundles.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import msgspec

from rayhpc.head.actor_table import ActorRecord, ActorTable
from rayhpc.head.groups import Groups, Verdict
from rayhpc.head.nodes import NodeRecord, Nodes
from rayhpc.head.placing import Demand, Picker, rank_of
from rayhpc.head.waiting import Kind, Waiting
from rayhpc.wire.address import Address
from rayhpc.wire.feasibility import (
    add,
    can_ever,
    explain,
    fits,
    in_words,
    lasts,
    subtract,
    too_short,
)
from rayhpc.wire.messages.actors import StartActor
from rayhpc.wire.messages.common import Resources

# How long a node whose workers seem idle may take to recall one, before work that needs no GPU goes
# to a node with GPUs instead.
SPARE_GPUS_S = 0.2


class Starter:
    """Finds nodes for actors.

    Args:
        table: all actors.
        waiting: those that need a node.
        nodes: the table of nodes.
        groups: the placement groups.
        send: sends a message.
        wall: seconds since the epoch, for actors that say how long they live.
        random: breaks ties.
        give_up: called with an actor that can never start, and the reason.
        tell: called with an actor whose watchers should hear why it waits.
    """

    def __init__(
        self,
        table: ActorTable,
        waiting: Waiting,
        nodes: Nodes,
        groups: Groups,
        send: Callable[[Address, msgspec.Struct], None],
        wall: Callable[[], float],
        random: random.Random,
        give_up: Callable[[ActorRecord, str], None],
        tell: Callable[[ActorRecord], None],
    ) -> None:
        self._table = table
        self._waiting = waiting
        self._nodes = nodes
        self._groups = groups
        self._send = send
        self._random = random
        self._give_up = give_up
        self._tell = tell
        self._wall = wall

    def advance(self) -> None:
        """Start whatever can be started."""
        for kind in self._waiting.to_try(bool(self._nodes.grown)):
            if kind.demand.strategy.group:
                self._try_group(kind)
            else:
                self._try_nodes(kind)
            kind.fresh = False

    def restore(self, actor: ActorRecord) -> None:
        """An earlier life of the head has placed it: take account of what it has there."""
        if actor.node is None:
            return
        if actor.group:
            self._groups.take(actor.group, actor.node.number, actor.spec.holding)
        add(actor.node.lent, _excess(actor))

    def release(self, actor: ActorRecord) -> None:
        """An actor's process is gone, or never existed: its node gets back what it held."""
        node = actor.node
        if node is None:
            return
        node.drop(actor.order)
        subtract(node.lent, _excess(actor))
        if actor.group:
            self._groups.give_back(actor.group, node.number, actor.spec.holding)
            self._waiting.wake_group(actor.group)
        self._nodes.grown.add(node.number)
        self._table.take_off(actor)

    # -- on any node -----------------------------------------------------------------------------
    def _try_nodes(self, kind: Kind) -> None:
        demand = kind.demand
        hopeless = self._hopeless(demand)
        if hopeless:
            self._give_up_all(kind, hopeless)
            return
        candidates = self._candidates(kind)
        spread = demand.strategy.kind == "spread"
        rank = functools.partial(rank_of, demand, self._wall())
        self._hand_out(kind, Picker(candidates, rank, self._random, shuffle=spread))
        if kind.actors:
            self._explain(kind, candidates)

    def _candidates(self, kind: Kind) -> list[NodeRecord]:
        """The nodes to consider; a soft affinity counts while its node is alive and could serve."""
        strategy = kind.demand.strategy
        if strategy.kind == "node":
            node = self._nodes.by_id(strategy.node)
            wanted, at = kind.demand.placing, self._wall()
            if node and not node.ended and can_ever(node.info, wanted, strategy, at):
                return [node] if node.takes_work() else []
        return self._nodes.open() if kind.fresh else self._nodes.open_grown()

    def _hopeless(self, demand: Demand) -> str:
        """Why an actor bound to one node can never start (empty: it can)."""
        strategy = demand.strategy
        if strategy.kind != "node" or strategy.soft:
            return ""
        node = self._nodes.by_id(strategy.node)
        if node is None:
            return f"there is no node {strategy.node}, and its node affinity is hard (soft=False)"
        if node.ended:
            return (
                f"node {strategy.node} is gone ({node.ended}), and its node affinity is hard "
                "(soft=False)"
            )
        return explain([node.info], demand.placing, strategy, self._wall())

    def _explain(self, kind: Kind, candidates: list[NodeRecord]) -> None:
        demand = kind.demand
        if demand.strategy.kind == "node" and not candidates:
            self._say(kind, "it waits for its node, which takes no new work at the moment", True)
            return
        wanted, strategy, at = demand.placing, demand.strategy, self._wall()
        some = any(can_ever(n.info, wanted, strategy, at) for n in candidates)
        possible = some or (kind.possible and not kind.fresh)
        if possible:
            bound = len(candidates) == 1 and demand.strategy.kind == "node"
            where = f"its node ({candidates[0].info.ip}) to have" if bound else "a node with"
            reason = f"it waits for {where} {in_words(demand.placing)} free"
        elif kind.fresh or not kind.reason:
            infos = [node.info for node in self._nodes.alive.values()]
            reason = explain(infos, wanted, strategy, at)
        else:
            reason = kind.reason
        self._say(kind, reason, possible)

    def _say(self, kind: Kind, reason: str, possible: bool) -> None:
        if reason == kind.reason and not kind.fresh:
            return
        kind.reason, kind.possible = reason, possible
        for actor in kind.actors.values():
            actor.hopeless = not possible
            if actor.reason != reason:
                actor.reason = reason
                if not possible:
                    self._tell(actor)

    # -- in a placement group --------------------------------------------------------------------
    def _try_group(self, kind: Kind) -> None:
        demand = kind.demand
        strategy = demand.strategy
        verdict, text, nodes = self._groups.seats(strategy, demand.placing)
        if verdict is Verdict.GONE:
            self._give_up_all(kind, text)
            return
        if verdict is Verdict.OPEN and strategy.seconds:
            able, at = nodes, self._wall()
            nodes = [x for x in able if lasts(x.info.labels, strategy.seconds, at)]
            if not nodes:
                verdict = Verdict.NEVER
                lack = too_short([x.info for x in able], demand.placing, strategy)
                text = f"in its placement group {lack}"

        def rank(node: NodeRecord) -> tuple[float, ...] | None:
            found = self._groups.rank(strategy, node.number, demand.placing, demand.holding)
            return None if found is None else (float(node.number == demand.avoid), *found)

        self._hand_out(kind, Picker(nodes, rank, self._random))
        if kind.actors:
            self._say(kind, text, verdict is not Verdict.NEVER)

    # -- common ----------------------------------------------------------------------------------
    def _give_up_all(self, kind: Kind, reason: str) -> None:
        for actor in list(kind.actors.values()):
            self._give_up(actor, reason)

    def _hand_out(self, kind: Kind, picker: Picker) -> None:
        while kind.actors:
            node = picker.pick()
            if node is None:
                return
            self._start(next(iter(kind.actors.values())), node)

    def _start(self, actor: ActorRecord, node: NodeRecord) -> None:
        self._waiting.remove(actor)
        holding = actor.spec.holding
        within = self._patience(actor, node)
        if actor.group:
            self._groups.take(actor.group, node.number, holding)
            order = node.charge({})
        else:
            order = node.charge(holding)
        add(node.lent, _excess(actor))
        self._table.put_on(actor, node, order)
        self._send(node.raylet, StartActor(actor.spec, actor.incarnation, within))

    def _patience(self, actor: ActorRecord, node: NodeRecord) -> float:
        """How long a node may take to find room; only briefly if it merely spares GPU nodes."""
        placing, holding = actor.spec.placing.resources, actor.spec.holding
        if actor.group or placing.get("GPU") or fits(node.free, holding):
            return 0.0
        spared = (x for x in self._nodes.open() if x.info.total.get("GPU"))
        return SPARE_GPUS_S if any(fits(x.free, placing) for x in spared) else 0.0


def _excess(actor: ActorRecord) -> Resources:
    """What an actor is placed with beyond what it holds; nothing inside a placement group."""
    if actor.group:
        return {}
    holding = actor.spec.holding
    placing = actor.spec.placing.resources
    return {k: v - holding.get(k, 0) for k, v in placing.items() if v > holding.get(k, 0)}
