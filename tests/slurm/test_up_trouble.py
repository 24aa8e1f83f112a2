"""Clusters of `rayhpc up` on a real SLURM: jobs that are lost, no controller, no room."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.test_up import queue, user_at_node, workers, write
from tests.slurm.user import User, eventually

pytestmark = pytest.mark.slow

# As many tasks as make it want two nodes.
TWO = """
import time
import ray

ray.init()

@ray.remote(num_cpus=ray.cluster_resources()["CPU"], max_retries=-1)
def work():
    time.sleep(1.0)
    return ray.get_runtime_context().get_node_id()

refs = [work.remote() for _ in range(12)]
print("began", flush=True)
print(len(set(ray.get(refs))), "nodes", flush=True)
"""


@contextmanager
def cluster(user: User, name: str) -> Iterator[None]:
    """Brought up, and in the end taken down."""
    user.rayhpc("up", "-y", "cluster.yaml", check=True)
    try:
        yield
    finally:
        ended = user.rayhpc("down", "-y", name)
    assert ended.returncode == 0, ended.stderr
    assert not queue(user)


def tasks(user: User, name: str) -> list[str]:
    """The jobs of its workers that run."""
    words = ["--noheader", f"--name=rayhpc-{name}-worker", "--states=R", "--format=%i"]
    return user.run("squeue", *words, check=True).stdout.split()


def test_jobs_that_are_cancelled(lab_user: User) -> None:
    name = write(lab_user, "job", least=1)
    with cluster(lab_user, name):
        assert eventually(lambda: tasks(lab_user, name), 30)
        (first,) = tasks(lab_user, name)
        assert eventually(lambda: workers(lab_user, name) == 1, 30)
        lab_user.run("scancel", first, check=True)
        assert eventually(lambda: tasks(lab_user, name) not in ([], [first]), 40)
        # All workers end with the head, and another `up` begins anew.
        lab_user.run("scancel", f"--name=rayhpc-{name}-head", check=True)
        assert eventually(lambda: not queue(lab_user), 30), queue(lab_user)
        gone = lab_user.rayhpc("status", name)
        assert "not running" in gone.stdout
        lab_user.rayhpc("up", "-y", name, check=True)
        assert eventually(lambda: workers(lab_user, name) == 1, 40)


def test_a_head_that_is_killed_leaves_nothing(lab_user: User) -> None:
    name = write(lab_user, "job", least=2)
    with cluster(lab_user, name):
        assert eventually(lambda: workers(lab_user, name) == 2, 40)
        lab_user.run("scancel", "--signal=KILL", "--full", f"--name=rayhpc-{name}-head", check=True)
        assert eventually(lambda: not queue(lab_user), 60), queue(lab_user)


def test_a_controller_that_is_away_for_a_while(lab: LabCluster) -> None:
    lab_user = user_at_node(lab, "no-controller")
    name = write(lab_user, "here", least=1)
    lab_user.write("two.py", TWO)
    with cluster(lab_user, name):
        assert eventually(lambda: workers(lab_user, name) == 1, 40)
        lab.verb("ctl-stop")
        try:
            job = lab_user.start(
                *("python3", "-m", "rayhpc.cli.main", "submit", "cluster.yaml", "two.py")
            )
            assert job.stdout is not None
            assert job.stdout.readline() == "began\n"
        finally:
            lab.verb("ctl-start")
        out, err = job.communicate(timeout=100)
        assert job.returncode == 0, err
        assert out in ("1 nodes\n", "2 nodes\n", "3 nodes\n", "4 nodes\n")


def test_a_full_queue_is_quoted(lab: LabCluster) -> None:
    lab_user = user_at_node(lab, "full-queue")
    name = write(lab_user, "here", least=1)
    nodes = len(lab_user.cluster.names)
    blocker = lab_user.run(
        *("sbatch", "--parsable", f"--nodes={nodes}", "--exclusive", "--output=/dev/null"),
        *("--wrap", "srun sleep 300"),
        check=True,
    ).stdout.strip()
    try:
        assert eventually(lambda: "RUNNING" in queue(lab_user), 60)
        with cluster(lab_user, name):

            def told() -> str:
                return lab_user.rayhpc("explain", name, check=True).stdout

            assert eventually(lambda: "the nodes it needs are busy" in told(), 60), told()
            lab_user.run("scancel", blocker, check=True)
            assert eventually(lambda: workers(lab_user, name) == 1, 60)
    finally:
        lab_user.run("scancel", blocker)


def test_arrays_that_may_only_be_small() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as extra:
        extra.write("MaxArraySize=3\n")
        extra.flush()
        lab = LabCluster(2, SLURMLAB_PREFIX="small", SLURMLAB_EXTRA_CONF=extra.name)
    try:
        user = user_at_node(lab, "small")
        name = write(user, "here", least=4, cpus=2)
        with cluster(user, name):
            assert eventually(lambda: workers(user, name) == 4, 60)
            assert len({each.split("_")[0] for each in tasks(user, name)}) >= 2
    finally:
        lab.close()
