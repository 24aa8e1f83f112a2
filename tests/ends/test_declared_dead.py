"""A node that the head has declared dead ends with its workers, though it lives."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S

PATIENCE_S = 60.0


def until(there: Callable[[], bool], within: float = PATIENCE_S) -> float:
    """Wait until `there()`; how long that took."""
    start = time.monotonic()
    while not there():
        assert time.monotonic() - start < within, "it has not come"
        time.sleep(0.02)
    return time.monotonic() - start


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    ray.shutdown()
    made = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1, resources={"far": 1})
    yield made
    made.shutdown()


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Beating:
    def where(self) -> tuple[int, int]:
        return os.getpid(), os.getppid()


@pytest.mark.parametrize("kind", ["plain", "detached"])
def test_a_stopped_node_that_wakes_ends_when_it_is_told(cluster: Cluster, kind: str) -> None:
    options = {"name": "beating", "lifetime": "detached"} if kind == "detached" else {}
    actor = Beating.options(resources={"far": 1}, **options).remote()
    worker, server = (psutil.Process(x) for x in ray.get(actor.where.remote()))
    raylet = psutil.Process(server.ppid())
    os.kill(raylet.pid, signal.SIGSTOP)
    until(lambda: not all(x["Alive"] for x in ray.nodes()))
    os.kill(raylet.pid, signal.SIGCONT)
    took = until(lambda: not worker.is_running())
    until(lambda: not raylet.is_running() or raylet.status() == psutil.STATUS_ZOMBIE)
    # A second on a machine that is not busy: it is told, and does not find out by the silence.
    assert took < HEAD_PATIENCE_S
