"""A job that grows, and a cluster of jobs, on a real Grid Engine."""

from __future__ import annotations

import pytest

from tests.sge.lab_cluster import SgeCluster
from tests.slurm.user import User, eventually

pytestmark = pytest.mark.slow

BURST = """
import time
import rayhpc as ray

ray.init()

@ray.remote(num_cpus=ray.cluster_resources()["CPU"])
def where():
    time.sleep(0.5)
    return ray.get_runtime_context().get_node_id()

print(len(set(ray.get([where.remote() for _ in range(30)]))), "nodes", flush=True)
while sum(node["Alive"] for node in ray.nodes()) > 1:
    time.sleep(0.1)
print("back", flush=True)
"""

FILE = """
cluster_name: grown
max_workers: 2
idle_timeout_minutes: 0.02
provider: {type: sge, head: job}
head_node_type: head
available_node_types:
    head: {resources: {CPU: 0}}
    worker: {min_workers: 2, node_config: {q: all.q, pe: smp 2}}
"""


def waiting(user: User) -> str:
    return user.run("qstat", check=True).stdout


def test_a_job_grows_and_is_back(user: User, lab: SgeCluster) -> None:
    user.write("burst.py", BURST)
    done = user.submit(
        *("--nodes", "1:2", "--idle-timeout", "2", "--cpus-per-node", "4"),
        *("--", "python", "burst.py"),
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 nodes\nback\n", done.stderr
    assert eventually(lambda: not waiting(user), 60)
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()


def test_a_cluster_of_jobs_comes_and_goes(user: User, lab: SgeCluster) -> None:
    user.write("cluster.yaml", FILE)
    user.rayhpc("up", "-y", "cluster.yaml", check=True)
    try:

        def workers() -> int:
            return len(user.rayhpc("get-worker-ips", "grown", check=True).stdout.split())

        assert eventually(lambda: workers() == 2, 40)
        code = "import ray; ray.init(); print(len(ray.nodes()))"
        ran = user.rayhpc("exec", "grown", "--", "python", "-c", code, check=True)
        assert ran.stdout == "3\n"
    finally:
        ended = user.rayhpc("down", "-y", "grown")
    assert ended.returncode == 0, ended.stderr
    assert eventually(lambda: not waiting(user), 60)
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()
