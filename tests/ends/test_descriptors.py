"""More actors than open files allow: the next one is refused in a sentence, all others go on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, sys, rayhpc as ray
from rayhpc.cluster_utils import Cluster
nodes = int(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2}, connect=True)
options = {"num_cpus": 0}
if nodes == 2:
    cluster.add_node(num_cpus=2, resources={"far": 1})
    cluster.wait_for_nodes()
    options["resources"] = {"far": 0.0001}

@ray.remote(**options)
class A:
    def pid(self): return os.getpid()

@ray.remote(**options)
def task(i): return i

kept, refused = [], ""
while not refused and len(kept) < 300:
    batch = [A.remote() for _ in range(10)]
    for actor in batch:
        try:
            ray.get(actor.pid.remote(), timeout=60)
            kept.append(actor)
        except ray.exceptions.ActorDiedError as error:
            refused = str(error)
alive = len(set(ray.get([x.pid.remote() for x in kept], timeout=60)))
for actor in kept[:10]:
    ray.kill(actor)
del kept[:10], batch, actor
again = ray.get(A.remote().pid.remote(), timeout=60)
tasks = ray.get([task.remote(i) for i in range(50)], timeout=60)
print(json.dumps([alive, len(kept), refused, bool(again), tasks == list(range(50))]))
"""


def run(limit: str, nodes: int = 1) -> list[object]:
    done = subprocess.run(
        ["bash", "-c", f'{limit} && exec "$@"', "bash", sys.executable, "-c", PROGRAM, str(nodes)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_next_actor_is_refused_and_nothing_else_suffers(nodes: int) -> None:
    alive, kept, refused, again, tasks = run("ulimit -n 256", nodes)
    assert "can have no more" in str(refused)
    assert "ulimit" in str(refused)
    assert isinstance(alive, int)
    assert alive > 30
    assert kept == alive - 10
    assert again
    assert tasks


def test_a_low_soft_limit_is_raised_everywhere() -> None:
    alive, _, refused, _, tasks = run("ulimit -S -n 128 && ulimit -H -n 1024")
    assert isinstance(alive, int)
    assert alive > 200
    assert "can have no more" in str(refused)
    assert tasks
