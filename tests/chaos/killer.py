"""Who kills processes of a cluster, by a seed.

Used by `run`.  Knows every process by its parents: below each node process is the fork server,
below that templates and workers.  Never touches the head's node process, head, or fork server.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path
from threading import Event

from rayhpc.launch.cluster import LocalCluster, LocalNode
from rayhpc.launch.options import NodeOptions
from tests.ends.scene import children
from tests.launch.processes import Known, family

NODE = NodeOptions(num_cpus=2, object_store_memory=256 << 20)


class Killer:
    """Kills at random until told to stop.

    Args:
        cluster: whose processes; a node that was killed is replaced.
        seed: of the choices (what they hit depends on the machine's mood, too).
        pause_s: between two kills, on average.
    """

    def __init__(self, cluster: LocalCluster, seed: int, pause_s: float) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self.done = Event()
        self.killed: Counter[str] = Counter()
        # Whatever must be gone in the end.
        self.seen: Known = {}
        self.folders: set[Path] = set()

    def run(self) -> None:
        """Kill until `done`."""
        while not self.done.wait(self._random.uniform(0.2, 1.8) * self._pause_s):
            for node in self._cluster.nodes:
                self.seen |= family(node.process.pid)
                self.folders.add(Path(node.session_dir))
            if self._random.random() < 0.12:
                self._kill_node()
            else:
                self._kill_worker()

    def _kill_node(self) -> None:
        others = self._cluster.nodes[1:]
        if others:
            self._cluster.remove_node(self._random.choice(others), graceful=False)
            self.killed["node"] += 1
            self._cluster.add_node(NODE)

    def _kill_worker(self) -> None:
        node = self._random.choice(self._cluster.nodes)
        found = workers_of(node)
        if found:
            try:
                os.kill(self._random.choice(found), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.killed["worker or template"] += 1


def workers_of(node: LocalNode) -> list[int]:
    """The pids of a node's workers, actors and templates."""
    found: list[int] = []
    try:
        for child in sorted(children(node.process.pid)):
            below = sorted(children(child))
            found += below  # the head has none
            for pid in below:
                found += sorted(children(pid))
    except OSError:
        pass  # one of them has ended meanwhile
    return found
