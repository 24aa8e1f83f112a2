"""A cluster of `rayhpc up` on a YARN: from nothing to nothing, on the fake and on the real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.yarn.applications import wait_until
from tests.yarn.terminal import Terminal

FILE = """
cluster_name: demo
max_workers: {most}
idle_timeout_minutes: 0.02
provider: {{type: yarn}}
head_node_type: head
available_node_types:
    head:
        resources: {{CPU: 0}}
        node_config: {{queue: default, memory: 768M, vcores: 1, lifetime: 30}}
    worker:
        min_workers: 1
        max_workers: {most}
        resources: {{CPU: 1, special: 1}}
        labels: {{kind: small, "team": "a, b"}}
"""
# It ends when tasks have run on two containers, or more.
TWO = """
import os, time
import ray

ray.init()

@ray.remote(num_cpus=1, resources={"special": 1})
def where():
    time.sleep(0.2)
    labels = ray.get_runtime_context().get_node_labels()
    left = float(labels["rayhpc.io/end-time"]) - time.time()
    return os.environ["CONTAINER_ID"], labels["team"], 1500 < left < 1800

found = set()
while len(found) < 2:
    found |= set(ray.get([where.remote() for _ in range(8)]))
print({(team, knows_its_end) for _, team, knows_its_end in found}, flush=True)
"""
FLOOR = """
import sys
import ray
from ray.autoscaler.sdk import request_resources

ray.init()
request_resources(num_cpus=int(sys.argv[1]))
"""


def from_nothing_to_nothing(user: Terminal, nodes: int, nothing_runs: Callable[[], bool]) -> None:
    """Up, a program, growth beyond the cluster, shrinking, down.

    Args:
        user: who does it.
        nodes: how many the YARN has; 3 or more.
        nothing_runs: whether no container has a process.
    """
    state = Path(user.environ["XDG_STATE_HOME"], "rayhpc/clusters/demo")
    user.write("cluster.yaml", FILE.format(most=nodes))
    user.write("two.py", TWO)
    user.write("floor.py", FLOOR)
    plan = user.run("up", "--dry-run", "cluster.yaml").stdout
    assert f"{nodes} workers at most, each a part of the head's job on YARN" in plan
    done = user.run("up", "-y", "cluster.yaml")
    assert "Cluster demo: its head serves at " in done.stdout, done.stderr
    try:
        done = user.run("submit", "cluster.yaml", "two.py")
        assert done.stdout == "{('a, b', True)}\n", (done.stdout, done.stderr)
        again = user.run("up", "-y", "demo")
        assert "is as its file says" in again.stderr
        # One more than there is room for.
        assert user.run("submit", "demo", "floor.py", str(nodes)).returncode == 0
        full = f"the cluster has {nodes} nodes, and this application has a container on each"
        wait_until(lambda: full in user.run("explain", "demo").stdout, 40)
        assert " runs in queue " in user.run("explain", "demo").stdout
        wait_until(lambda: workers(user) == nodes - 1, 40)
        shown = json.loads(user.run("status", "demo", "--json").stdout)
        assert shown["head"]["state"] == "running"
        assert user.run("submit", "demo", "floor.py", "0").returncode == 0
        wait_until(lambda: workers(user) == 1, 40)
    finally:
        done = user.run("down", "-y", "demo")
    assert done.returncode == 0, done.stderr
    wait_until(nothing_runs)
    assert [each.name for each in state.glob("*") if each.name != "lock"] == []
    assert not list(user.folder.glob("jobs/*/staged"))
    assert "CANCELLED" in user.run("jobs").stdout.upper()


def workers(user: Terminal) -> int:
    """How many it has."""
    return len(user.run("get-worker-ips", "demo").stdout.split())
