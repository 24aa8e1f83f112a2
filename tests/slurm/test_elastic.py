"""A job that grows with its work, on a real SLURM: up, down, lost workers, a stopped controller."""

from __future__ import annotations

import re

import pytest

from tests.slurm.lab_cluster import LabCluster
from tests.slurm.user import User, eventually

pytestmark = pytest.mark.slow

# Each task takes a whole node, so every node but the head's was added for one of them.
BURST = """
import sys, time
import rayhpc as ray

ray.init()
me = ray.get_runtime_context().get_node_id()

lasting = {"rayhpc.io/options": {"seconds": 60}}

@ray.remote(num_cpus=ray.cluster_resources()["CPU"], _metadata=lasting)
def where(seconds):
    began, here = time.time(), ray.get_runtime_context().get_node_id()
    (labels,) = (node["Labels"] for node in ray.nodes() if node["NodeID"] == here)
    time.sleep(seconds)
    return here, began, float(labels.get("rayhpc.io/end-time", "inf")) - began

def alive():
    return sum(node["Alive"] for node in ray.nodes())

began = time.time()
done = ray.get([where.remote(0.3) for _ in range(int(sys.argv[1]))])
first = min(at for node, at, _ in done if node != me) - began
print(f"done {len(done)} first {first:.2f} nodes {len({node for node, _, _ in done})}", flush=True)
ends = [left for node, _, left in done if node != me]
print(f"left {min(ends):.0f} to {max(ends):.0f}", flush=True)
while alive() > 1:
    time.sleep(0.1)
print("back", flush=True)
"""

LOSE = """
import time
import rayhpc as ray

ray.init()

@ray.remote(num_cpus=ray.cluster_resources()["CPU"], max_retries=-1)
def work(seconds):
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()

refs = [work.remote(2.0) for _ in range(14)]
while sum(node["Alive"] for node in ray.nodes()) < 3:
    time.sleep(0.1)
print("three", flush=True)
print("done", len(ray.get(refs)), flush=True)
"""


def waiting(user: User) -> str:
    return user.run("squeue", "--noheader", check=True).stdout


def test_a_burst_grows_to_the_most_and_back(lab_user: User) -> None:
    lab_user.write("burst.py", BURST)
    done = lab_user.submit(
        *("--nodes", "1:4", "--idle-timeout", "2", "--cpus-per-node", "8", "--time", "20"),
        *("--", "python", "burst.py", "60"),
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"done 60 first ([\d.]+) nodes (\d)", done.stdout)
    assert found, done.stdout
    assert int(found[2]) == 4, done.stderr
    # Each added node knows its own end, although SLURM 22.05 does not tell it.
    left = re.search(r"^left (\d+) to (\d+)$", done.stdout, re.MULTILINE)
    assert left, done.stdout
    assert 600 < int(left[1]) <= int(left[2]) <= 1200, left[0]
    assert done.stdout.endswith("back\n")
    assert "asked for worker-1: " in done.stderr
    assert "was lost" not in done.stderr
    # Nothing is left running, pending, or on disk.
    assert eventually(lambda: not waiting(lab_user), 60)
    assert not list(lab_user.jobs.glob("*/.rayhpc-elastic-*"))


def test_lost_workers_are_replaced_though_the_controller_stops(
    lab_user: User, lab: LabCluster
) -> None:
    lab_user.write("lose.py", LOSE)
    job = lab_user.start(
        *("python3", "-m", "rayhpc.cli.main", "submit", "--nodes", "1:3", "--idle-timeout", "2"),
        *("--cpus-per-node", "8", "--", "python", "lose.py"),
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "three\n"
    workers = re.findall(r"^ *(\d+_\d+) ", waiting(lab_user), re.MULTILINE)
    lab_user.run("scancel", workers[0], check=True)
    lab.verb("ctl-stop")
    lab.verb("ctl-start")
    out, err = job.communicate(timeout=100)
    assert job.returncode == 0, err
    assert out == "done 14\n"
    assert eventually(lambda: not waiting(lab_user), 60)
