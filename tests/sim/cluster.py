"""A simulated cluster: the real head, raylets and object managers in one process, on one clock.

`Cluster(seed)` starts them; `driver(node)` attaches a driver; `kill_worker`, `kill_node` and
`kill_driver` are what can happen to them.  Only processes, sockets and time are simulated.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from rayhpc.head.config import HeadFacts
from rayhpc.head.head import Head
from rayhpc.wire import messages
from rayhpc.wire.address import HEAD, Address, node_of
from rayhpc.wire.messages import cluster, leases

from .node import ARENA_BYTES, KILLED, SimNode
from .process import SimProcess
from .worker import SimWorker
from .world import World

FACTS = HeadFacts("sim", "0", "3")


class Cluster:
    """A head and some nodes.

    Args:
        seed: decides everything that is random.
        nodes: how many.
        cpus: of each.
    """

    def __init__(self, seed: int, nodes: int = 3, cpus: int = 2) -> None:
        self.world = World(seed)
        self.head = Head(
            FACTS, self._send, self.world.now, self.world.now, random.Random(self.world.random.random())
        )
        self._timer = float("inf")
        self.world.join(HEAD, messages.HEAD_TAKES, self._receive)
        self.nodes: dict[int, SimNode] = {}
        for index in range(nodes):
            self.add_node(index, cpus)
        self._settle()

    def add_node(self, index: int, cpus: int) -> SimNode:
        """A node joins."""
        node = SimNode(self, index, cpus)
        self.nodes[node.number] = node
        self._settle()
        return node

    def _send(self, destination: Address, message: msgspec.Struct) -> None:
        self.world.send(HEAD, destination, message)

    def _receive(self, source: Address, message: Any) -> None:
        self.head.handle(source, message)
        self._settle()

    def _settle(self) -> None:
        self.head.advance()
        deadline = self.head.deadline()
        if deadline < self._timer - 1e-9:
            self._timer = deadline
            self.world.at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = float("inf")
        self._settle()

    # -- processes ----------------------------------------------------------------------------------
    def driver(self, number: int = 1) -> SimProcess:
        """Attach a driver to a node."""
        node = self.nodes[number]
        facts = node.raylet.attach({"role": "driver", "preload": []}, 1)
        node.settle()
        driver = SimProcess(self.world, facts.address, node.arena.fd, ARENA_BYTES, facts.job)
        node.drivers[facts.address] = driver
        return driver

    def workers(self) -> list[tuple[SimNode, SimWorker]]:
        """Every living worker, with its node."""
        return [(n, w) for n in self.nodes.values() if n.alive for w in n.workers.values()]

    # -- what can happen ------------------------------------------------------------------------------
    def kill_random_worker(self) -> None:
        """A worker is killed, whatever it does."""
        found = self.workers()
        if found:
            node, worker = self.world.random.choice(found)
            self.world.note(f"-- worker {worker.me:x} is killed")
            node.worker_died(worker, KILLED)

    def kill_node(self, node: SimNode, reason: str = "power loss") -> None:
        """Everything on a node dies at once; the others notice their connections end."""
        if not node.alive:
            return
        self.world.note(f"-- node {node.number} dies: {reason}")
        node.alive = False
        self.world.leave(node.me)
        for process in [*node.workers.values(), *node.drivers.values()]:
            process.end()
        for other in self.nodes.values():
            if other.alive:
                self.world.after(
                    self.world.random.uniform(0, 0.01),
                    lambda o=other: o.alive and (o.raylet.link_broken(node.number), o.settle()),
                )

        def lost() -> None:
            self.head.lost(node.number, reason)
            self._settle()

        self.world.after(self.world.random.uniform(0.001, 0.05), lost)

    def kill_driver(self, driver: SimProcess) -> None:
        """A driver dies; its raylet notices."""
        node = self.nodes[node_of(driver.me)]
        node.drivers.pop(driver.me, None)
        driver.end()

        def gone() -> None:
            if node.alive:
                node.raylet.detach(driver.me, "it was killed")
                node.settle()

        self.world.after(0.001, gone)

    # -- what must hold in the end --------------------------------------------------------------------
    def store_used(self) -> int:
        """Bytes in all stores of living nodes."""
        return sum(n.objects.used for n in self.nodes.values() if n.alive)

    def close(self) -> None:
        """Give the memory back."""
        for node in self.nodes.values():
            for process in [*node.workers.values(), *node.drivers.values()]:
                process.end()
            node.objects.close()


def alive_leases(sim: Cluster) -> int:
    """How many leases raylets think are out."""
    return sum(n.raylet.leases.active() for n in sim.nodes.values() if n.alive)


__all__ = ["Cluster", "SimNode", "alive_leases", "leases"]
