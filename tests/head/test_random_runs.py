"""Seeded random runs: whatever happens in whatever order, the head's promises hold.

A failing seed is in the test's name; `test_seed[…]` replays it.
"""

from __future__ import annotations

import random

import pytest

from rayhpc.wire.feasibility import fits
from rayhpc.wire.messages import actors, cluster
from rayhpc.wire.messages.actors import (
    ALIVE,
    DEAD,
    GROUP_CREATED,
    GROUP_REMOVED,
    PENDING,
    RESTARTING,
)
from rayhpc.wire.messages.common import Strategy

from .fakes import FakeRaylet, World, amounts

SEEDS = 60
STEPS = 80
_AFTER = {
    "": {PENDING},
    PENDING: {ALIVE, RESTARTING, DEAD, PENDING},
    ALIVE: {RESTARTING, DEAD},
    RESTARTING: {ALIVE, RESTARTING, DEAD},
    DEAD: set(),
}


class Run:
    """One run: random events, and after each the invariants."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(seed, latency=self.random.choice([0.001, 0.05, 0.3]))
        for _ in range(self.random.randint(2, 6)):
            self.add_node()
        self.world.beat()
        self.driver = self.world.start_job(self.world.raylets[1])
        self.made: list[bytes] = []
        self.groups: list[bytes] = []
        self.owners = [self.driver]

    # -- events -----------------------------------------------------------------------------------
    def add_node(self) -> None:
        self.world.add_node(amounts(CPU=self.random.choice([1, 2, 4])))

    def living(self) -> list[FakeRaylet]:
        return [n for n in self.world.raylets.values() if n.alive]

    def kill_node(self) -> None:
        if len(self.living()) > 1:
            node = self.random.choice(self.living()[1:])
            if self.random.random() < 0.3:
                node.silent = node.alive = True
                node.living.clear()
                node.alive = False
            else:
                self.world.kill_node(node)

    def create_actor(self) -> None:
        choice = self.random
        group = choice.choice(self.groups) if self.groups and choice.random() < 0.4 else b""
        bundle = choice.choice([-1, 0, 1])
        node = f"node-{choice.randint(1, 7)}"
        kinds = [
            Strategy(),
            Strategy("spread"),
            Strategy("node", node, soft=choice.random() < 0.7),
        ]
        strategy = Strategy("group", group=group, bundle=bundle) if group else choice.choice(kinds)
        named = choice.random() < 0.3
        cpus = choice.choice([0, 0.5, 1, 2])
        placing = max(cpus, choice.choice([1, 2])) if choice.random() < 0.3 else cpus
        self.made.append(
            self.world.create(
                self.owner(),
                cpus=cpus,
                placing=amounts(CPU=placing),
                strategy=strategy,
                max_restarts=choice.choice([0, 1, 3, -1]),
                detached=named and choice.random() < 0.3,
                name=f"name-{choice.randint(1, 3)}" if named else "",
                get_if_exists=named and choice.random() < 0.5,
            )
        )

    def owner(self) -> int:
        node = self.random.choice(self.living())
        if self.random.random() < 0.2:
            self.owners.append(self.world.process(node))
        usable = [x for x in self.owners if self.world.raylets[x >> 32].alive]
        return self.random.choice(usable)

    def create_group(self) -> None:
        bundles = [amounts(CPU=self.random.choice([0.5, 1, 2])) for _ in range(2)]
        strategy = self.random.choice(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])
        self.groups.append(self.world.group(self.driver, bundles, strategy))

    def end_group(self) -> None:
        if self.groups:
            self.world.to_head(self.driver, actors.RemoveGroup(self.random.choice(self.groups)))

    def end_actor(self) -> None:
        node = self.random.choice(self.living())
        if node.living:
            actor = self.random.choice(sorted(node.living))
            node.end_actor(actor, "signal 9", self.random.random() < 0.2)

    def kill_actor(self) -> None:
        if self.made:
            message = actors.KillActor(
                self.random.choice(self.made), no_restart=self.random.random() < 0.6
            )
            self.world.to_head(self.driver, message)

    def drop_actor(self) -> None:
        if self.made:
            message = actors.ActorUnreferenced(self.random.choice(self.made))
            self.world.to_head(self.driver, message)

    def end_owner(self) -> None:
        if len(self.owners) > 1:
            owner = self.owners.pop(self.random.randrange(1, len(self.owners)))
            self.world.raylets[owner >> 32].say(cluster.ProcessDied(owner, "exit", False))

    def fail_constructors(self) -> None:
        node = self.random.choice(self.living())
        node.fail_with = b"" if node.fail_with else b"error"

    # -- the run ----------------------------------------------------------------------------------
    def go(self) -> None:
        events = [
            *[self.create_actor] * 6,
            *[self.create_group] * 2,
            *[self.end_actor] * 3,
            self.end_group,
            self.kill_actor,
            self.drop_actor,
            self.end_owner,
            self.kill_node,
            self.add_node,
            self.fail_constructors,
        ]
        for _ in range(STEPS):
            self.random.choice(events)()
            self.world.run(self.random.choice([0, 0.01, 0.2, 1]))
            self.check_always()
        for node in self.living():
            node.fail_with = b""
        self.world.run(40)
        self.check_always()
        self.check_settled()

    # -- what must hold at any time ---------------------------------------------------------------
    def check_always(self) -> None:
        self.check_one_incarnation()
        self.check_names()
        for node in self.living():
            assert node.overbooked == 0, f"node {node.number} was sent more than it has"
            known = self.world.head.nodes.alive.get(node.number)
            if known is not None:
                assert all(v >= 0 for v in known.free.values()), known.free

    def check_one_incarnation(self) -> None:
        where: dict[bytes, list[int]] = {}
        for node in self.living():
            if node.number in self.world.head.nodes.alive:
                for actor in node.living:
                    where.setdefault(actor, []).append(node.number)
        assert all(len(nodes) == 1 for nodes in where.values()), where

    def check_names(self) -> None:
        named: dict[str, bytes] = {}
        for actor in self.world.head.actors.table:
            if actor.state != DEAD and actor.spec.name and not actor.unreferenced:
                assert named.setdefault(actor.spec.name, actor.id) == actor.id

    # -- what must hold when nothing happens any more ---------------------------------------------
    def check_settled(self) -> None:
        table = self.world.head.actors.table
        running = {a: (n, i) for n in self.living() for a, i in n.living.items()}
        for actor in table:
            if actor.state == ALIVE:
                node, incarnation = running.pop(actor.id)
                assert (node.addresses[actor.id], incarnation) == (
                    actor.address,
                    actor.incarnation,
                )
            else:
                assert actor.id not in running
            if actor.state in (PENDING, RESTARTING):
                self.check_waits_for_a_reason(actor.reason, actor.group)
        assert running == {}, "a raylet runs what the head has forgotten"
        self.check_groups()
        self.check_account()
        self.check_told()

    def check_waits_for_a_reason(self, reason: str, group: bytes) -> None:
        assert reason
        if "a node with" in reason and not group:
            wanted = float(reason.partition("a node with ")[2].partition(" CPU free")[0])
            most = max(n.free["CPU"] for n in self.living())
            assert most < wanted * 10_000, f"{reason}, and a node has {most}"

    def check_groups(self) -> None:
        placed: dict[bytes, dict[int, int]] = {}
        for node in self.living():
            for group, bundles in node.bundles.items():
                for index in bundles:
                    assert index not in placed.setdefault(group, {}), "a bundle lies twice"
                    placed[group][index] = node.number
        rows = {r.group: r for r in self.world.head.groups.rows()}
        for group, row in rows.items():
            there = placed.pop(group, {})
            expected = {i: n for i, n in enumerate(row.nodes) if n}
            assert there == expected, row
            if row.state == GROUP_CREATED:
                assert len(expected) == len(row.bundles)
                self.check_strategy(row)
            if row.state == GROUP_REMOVED:
                assert not expected
        assert not any(placed.values())

    def check_strategy(self, row: actors.GroupRow) -> None:
        distinct = len(set(row.nodes))
        if row.strategy == "STRICT_PACK":
            assert distinct == 1
        if row.strategy == "STRICT_SPREAD":
            assert distinct == len(row.nodes)

    def check_account(self) -> None:
        for node in self.living():
            known = self.world.head.nodes.alive[node.number]
            assert known.free == node.free
            assert fits(node.total, node.free)

    def check_told(self) -> None:
        """Every watcher on a living node was told each change, in order, and the last state."""
        for watcher, messages in self.world.inbox.items():
            if not self.world.raylets[watcher >> 32].alive or watcher not in self.owners:
                continue
            seen: dict[bytes, actors.ActorIs] = {}
            for message in messages:
                if not isinstance(message, actors.ActorIs):
                    continue
                before = seen.get(message.actor)
                state = "" if before is None else before.state
                if before is not None:
                    assert message.state in _AFTER[state], (state, message)
                    assert message.incarnation >= before.incarnation
                seen[message.actor] = message
            for actor, last in seen.items():
                assert last.state == (self.world.state(actor) or DEAD)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_seed(seed: int) -> None:
    Run(seed).go()
