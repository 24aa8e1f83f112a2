"""A running cluster of two nodes with a program on it, to be attacked."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc.launch.cluster import LocalCluster
from rayhpc.launch.options import NodeOptions
from rayhpc.machine import scratch
from rayhpc.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tests.launch.processes import Known, family


class Target:
    """A cluster, and a program that checks its own answers meanwhile."""

    def __init__(self) -> None:
        self.cluster = LocalCluster()
        options = NodeOptions(num_cpus=1, object_store_memory=64 << 20)
        self.nodes = [self.cluster.add_node(options) for _ in range(2)]
        ray.init(self.cluster.head.session_dir, log_to_driver=False)
        far = NodeAffinitySchedulingStrategy(self.nodes[1].node_id, soft=False)
        self.talker = Talker.options(scheduling_strategy=far, num_cpus=0).remote()
        self.folders = [Path(node.session_dir) for node in self.nodes]
        self.check_answers()

    @property
    def key(self) -> Any:
        """The cluster's key, which only its user has."""
        return self.cluster._key

    def secrets(self) -> list[bytes]:
        """Everything that must not be read anywhere."""
        return [self.key.node.secret, self.cluster._head_keys.secret]

    def processes(self) -> Known:
        found: Known = {}
        for node in self.nodes:
            found |= family(node.process.pid)
        return found

    def check_answers(self) -> None:
        """Work on both nodes, large objects between them included."""
        tasks = [square.options(scheduling_strategy="SPREAD").remote(i) for i in range(20)]
        sizes = [size.options(scheduling_strategy="SPREAD").remote(LARGE) for _ in range(4)]
        # A call at a time is a message at a time: soon they go over a direct link.
        for i in range(20):
            assert ray.get(self.talker.square.remote(i), timeout=60) == i * i
        there = [NodeAffinitySchedulingStrategy(x.node_id, soft=False) for x in self.nodes]
        made = [make.options(scheduling_strategy=x).remote() for x in there]
        taken = [size.options(scheduling_strategy=x).remote(LARGE) for x in there]
        assert ray.get(tasks, timeout=60) == [i * i for i in range(20)]
        assert ray.get(sizes, timeout=60) == [len(LARGE)] * 4
        assert all(x == LARGE for x in ray.get(made, timeout=60))
        assert ray.get(taken, timeout=60) == [len(LARGE)] * 2

    def while_it_works(self, attack: Any) -> None:
        """Run `attack` while the program goes on, which must not notice."""
        done = threading.Event()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                while not done.is_set():
                    self.check_answers()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            attack()
        finally:
            done.set()
            thread.join()
        assert errors == []
        self.check_answers()
        assert all(node.process.poll() is None for node in self.nodes)

    def close(self) -> None:
        ray.shutdown()
        self.cluster.shutdown()


# Large enough to go over the data plane.
LARGE = bytes(3_000_000)


@ray.remote
def square(x: int) -> int:
    return x * x


@ray.remote
class Talker:
    def square(self, x: int) -> int:
        return x * x


@ray.remote
def size(data: bytes) -> int:
    return len(data)


@ray.remote
def make() -> bytes:
    return LARGE


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    base = tempfile.mkdtemp(prefix="rs-", dir="/tmp")
    os.chmod(base, 0o755)  # that nobody else comes in must not hang on what lies above
    before = os.environ.get(scratch.VARIABLE)
    os.environ[scratch.VARIABLE] = base
    try:
        made = Target()
        yield made
        made.close()
    finally:
        if before is None:
            del os.environ[scratch.VARIABLE]
        else:
            os.environ[scratch.VARIABLE] = before
        shutil.rmtree(base, ignore_errors=True)
