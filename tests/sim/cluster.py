"""A simulated cluster: the real head, raylets and object managers in one process, on one clock.

`Cluster(seed)` starts them; `driver(node)` attaches a driver; `kill_worker`, `kill_node` and
`kill_driver` are what can happen to them.  Only processes, sockets and time are simulated.
"""

from __future__ import annotations

import gc
import random
import tempfile

import msgspec

from rayhpc.head.head import Head
from rayhpc.wire.address import Address, node_of, process_of
from rayhpc.wire.messages import leases

from .line import SimHead
from .node import ARENA_BYTES, KILLED, SimNode
from .plane import PlaneNet
from .process import SimProcess
from .worker import SimWorker
from .world import World


class Cluster:
    """A head and some nodes.

    Args:
        seed: decides everything that is random.
        nodes: how many.
        cpus: of each.
    """

    def __init__(self, seed: int, nodes: int = 3, cpus: int = 2) -> None:
        self.world = World(seed)
        self.planes = PlaneNet(self.world.after, random.Random(self.world.random.random()))
        self._folder = tempfile.TemporaryDirectory()
        self.server = SimHead(self.world, self._folder.name, resume=False)
        self.world.to_head = lambda number, frame: self.nodes[number].to_head(frame)
        self.world.answer_for = self._answer_for
        self.nodes: dict[int, SimNode] = {}
        # So many of the messages between raylets and the head break the connection that they take.
        self.head_links_break = 0.0
        for index in range(nodes):
            self.add_node(index, cpus)

    @property
    def head(self) -> Head:
        """The head's tables, of its present or last life."""
        return self.server.head

    def add_node(
        self, index: int, cpus: int, labels: dict[str, str] | None = None, **more: int
    ) -> SimNode:
        """A node joins; `more`: so much of other resources."""
        node = SimNode(self, index, cpus, more, labels)
        self.nodes[node.number] = node
        return node

    def _answer_for(self, source: Address, destination: Address) -> msgspec.Struct | None:
        """A raylet tells its processes of nodes that are gone, as `raylet.routing` does."""
        node, there = self.nodes.get(node_of(source)), node_of(destination)
        if node is None or not process_of(source) or there not in node.raylet._gone:
            return None
        return leases.NodeGone(there, "it is gone")

    def kill_head(self, after: int, back_in: float | None) -> None:
        """The head is killed after so many messages more.

        `back_in`: it comes back so many seconds later (None: never).
        """
        server = self.server
        server.dies_after = after
        if back_in is not None:
            server.died = lambda: self.world.after(back_in, self._resume_head)

    def _resume_head(self) -> None:
        self.world.note("-- the head comes back")
        self.server = SimHead(self.world, self._folder.name, resume=True)

    # -- processes --------------------------------------------------------------------------------
    def driver(self, number: int = 1) -> SimProcess:
        """Attach a driver to a node."""
        node = self.nodes[number]
        facts = node.raylet.attach({"role": "driver", "preload": []}, 1)
        node.settle()
        driver = SimProcess(self.world, facts.address, node.arena.fd, ARENA_BYTES, facts.job)
        node.drivers[facts.address] = driver
        return driver

    def processes(self) -> list[SimProcess]:
        """Every living driver and worker."""
        living = [n for n in self.nodes.values() if n.alive]
        return [p for n in living for p in (*n.drivers.values(), *n.workers.values())]

    def workers(self) -> list[tuple[SimNode, SimWorker]]:
        """Every living worker, with its node."""
        return [(n, w) for n in self.nodes.values() if n.alive for w in n.workers.values()]

    # -- what can happen --------------------------------------------------------------------------
    def kill_random_worker(self, actors: bool = False) -> None:
        """A worker is killed, whatever it does; `actors`: one that is an actor."""
        found = [(n, w) for n, w in self.workers() if w.actor is not None or not actors]
        if found:
            node, worker = self.world.random.choice(found)
            self.world.note(f"-- worker {worker.core.me:x} is killed")
            node.worker_died(worker, KILLED)

    def kill_node(
        self,
        node: SimNode,
        reason: str = "power loss",
        told_after: float | None = None,
        *,
        is_refused: bool = True,
    ) -> None:
        """Everything on a node dies at once; the others notice their connections end.

        `told_after`: so long the head's connection stays up (None: a random short time).
        `is_refused`: whoever dials it then is told that nothing listens there.
        """
        if not node.alive:
            return
        self.world.note(f"-- node {node.number} dies: {reason}")
        node.alive = False
        self.planes.kill(node.number)
        self.world.leave(node.me)
        node.link.end()
        for process in [*node.workers.values(), *node.drivers.values()]:
            process.end()
        for other in self.nodes.values():
            if other.alive:
                self.world.after(
                    self.world.random.uniform(0, 0.01),
                    lambda o=other: o.alive and (o.raylet.link_broken(node.number), o.settle()),
                )

        def lost() -> None:
            self.server.raylet_died(node.number, is_refused=is_refused)

        wait = self.world.random.uniform(0.001, 0.05) if told_after is None else told_after
        self.world.after(wait, lost)

    def cut(self, one: int, other: int) -> None:
        """The link between two living nodes breaks; both ends notice."""
        self.world.note(f"-- the link between nodes {one} and {other} breaks")
        self.world.sever(one, other)
        for me, peer in ((self.nodes[one], other), (self.nodes[other], one)):
            self.world.after(
                self.world.random.uniform(0, 0.1),
                lambda n=me, p=peer: n.alive and (n.raylet.link_broken(p), n.settle()),
            )

    def interrupt(self, one: int, other: int) -> None:
        """The link between two living nodes breaks, and is made again; both ends notice both."""
        seconds = self.world.random.uniform(0.05, 4.0)
        self.world.note(f"-- the link between nodes {one} and {other} breaks for {seconds:.2f} s")
        self.world.interrupt(one, other, seconds)
        for me, peer in ((self.nodes[one], other), (self.nodes[other], one)):
            self.world.after(
                self.world.random.uniform(0, 0.05),
                lambda n=me, p=peer: n.alive and (n.raylet.link_broken(p), n.settle()),
            )
            self.world.after(
                seconds, lambda n=me, p=peer: n.alive and n.raylet.broken_links.drop(p)
            )

    def silence(self, number: int, *, head_is_heard: bool) -> None:
        """What a node says to the head gets lost, and perhaps what the head says, too.

        Nobody notices: the connections stand.
        """
        self.world.note(f"-- node {number} is not heard by the head any more")
        self.world.lose(number, 0)
        if not head_is_heard:
            self.world.lose(0, number)

    def kill_driver(self, driver: SimProcess) -> None:
        """A driver dies; its raylet notices."""
        node = self.nodes[node_of(driver.core.me)]
        node.drivers.pop(driver.core.me, None)
        driver.end()

        def gone() -> None:
            if node.alive:
                node.raylet.detach(driver.core.me, "it was killed")
                node.settle()

        self.world.after(0.001, gone)

    # -- the end ----------------------------------------------------------------------------------
    def close(self) -> None:
        """Give the memory back."""
        for node in self.nodes.values():
            for process in [*node.workers.values(), *node.drivers.values()]:
                process.end()
            node.objects.close()
            node.arena.close()
        self.server.close()
        self._folder.cleanup()
        gc.collect()
