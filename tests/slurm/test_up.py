"""`rayhpc up` on SLURM: a head, workers by demand, every verb, and nothing left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from tests.slurm.fake.cluster import FakeCluster
from tests.slurm.lab_cluster import LabCluster
from tests.slurm.user import User, eventually

FILE = """
cluster_name: {name}
max_workers: 4
idle_timeout_minutes: 0.02
provider:
    type: slurm
    head: {head}
head_node_type: head
available_node_types:
    head:
        resources: {{CPU: 0}}
        node_config: {{partition: debug}}
    worker:
        min_workers: {least}
        node_config: {{partition: {partition}, cpus-per-task: {cpus}}}
"""

# The seed's program: where do hundreds of tasks run?
ADDRESSES = """
import socket, time
import ray

ray.init()

@ray.remote
def f():
    time.sleep(0.05)
    return ray.get_runtime_context().get_node_id()

found = ray.get([f.remote() for _ in range(300)])
print(len(set(found)), "nodes")
"""


class AtNode:
    """The lab for a user at one of its nodes, where processes have a /proc of their own."""

    kind = "lab"

    def __init__(self, lab: LabCluster) -> None:
        self._lab = lab
        self.home, self.environ, self.requests = lab.home, lab.environ, lab.requests

    @property
    def names(self) -> list[str]:
        return self._lab.names

    def prefix(self, user: str = "hpcuser", node: str | None = None) -> list[str]:
        return self._lab.prefix(user, node or self.names[0])


def user_at_node(lab: LabCluster, name: str) -> User:
    return User(AtNode(lab), lab.home / name)


def write(
    user: User, head: str = "job", least: int = 2, partition: str = "debug", cpus: int = 8
) -> str:
    name = user.directory.name[-40:]
    text = FILE.format(name=name, head=head, least=least, partition=partition, cpus=cpus)
    user.write("cluster.yaml", text)
    return name


def queue(user: User) -> str:
    """What is pending or running; a job whose processes have ended is over."""
    shown = user.run("squeue", "--noheader", "--format", "%T %i", check=True).stdout.splitlines()
    return "\n".join(x for x in shown if x.startswith(("PENDING", "RUNNING")))


def workers(user: User, name: str) -> int:
    return len(user.rayhpc("get-worker-ips", name, check=True).stdout.split())


def state_of(user: User) -> list[Path]:
    folder = user.cluster.home / ".local/state/rayhpc/clusters" / user.directory.name[-40:]
    return [each for each in folder.glob("*") if each.name != "lock"]


def test_up_and_down(user: User) -> None:
    up_and_down(user, "job")


@pytest.mark.slow
def test_up_and_down_with_the_head_where_the_caller_is(lab: LabCluster) -> None:
    up_and_down(user_at_node(lab, "up-here"), "here")


def up_and_down(user: User, head: str) -> None:
    name = write(user, head)
    user.write("addresses.py", ADDRESSES)
    plan = user.rayhpc("up", "--dry-run", "cluster.yaml", check=True).stdout
    assert "  worker  2 to 4  as work waits" in plan
    assert not queue(user)
    done = user.rayhpc("up", "-y", "cluster.yaml", check=True)
    assert f"Cluster {name}: its head serves at " in done.stdout
    try:
        assert eventually(lambda: workers(user, name) == 2, 40)
        ran = user.rayhpc("submit", "cluster.yaml", "addresses.py", check=True, timeout=100)
        assert int(ran.stdout.split()[0]) in (2, 3, 4), ran.stdout
        code = user.rayhpc("exec", name, "test -n $RAYHPC_ADDRESS && exit 7")
        assert code.returncode == 7, code.stderr
        assert user.rayhpc("attach", name, stdin="echo at $RAYHPC_ADDRESS\n").stdout == (
            f"at {json.loads(user.rayhpc('status', name, '--json').stdout)['status']['address']}\n"
        )
        again = user.rayhpc("up", "-y", name, check=True)
        assert "and nothing has changed" in again.stdout
        assert " is idle (since " in user.rayhpc("explain", name, check=True).stdout
    finally:
        ended = user.rayhpc("down", "-y", "cluster.yaml")
    assert ended.returncode == 0, ended.stderr
    assert not queue(user)
    assert not state_of(user)


def test_a_queue_that_is_full_is_quoted_and_nothing_stays(
    fake: FakeCluster, fake_user: User
) -> None:
    name = write(fake_user, "here", least=1, partition="nope")
    fake_user.rayhpc("up", "-y", "cluster.yaml", check=True)
    try:

        def told() -> str:
            return fake_user.rayhpc("explain", name, check=True).stdout

        assert eventually(lambda: "invalid partition" in told(), 60)
        assert "worker is paused: sbatch: " in told()
        assert "nothing more is asked for" not in told()
        wrong = fake_user.rayhpc("resume", "wroker", name)
        assert wrong.returncode == ExitCode.CONFIGURATION
        assert "did you mean 'worker'?" in wrong.stderr
        fake_user.rayhpc("resume", "worker", name, check=True)
    finally:
        fake_user.rayhpc("down", "-y", name, check=True)
    assert not queue(fake_user)


def test_what_the_file_has_wrong_is_said_before_anything_happens(fake_user: User) -> None:
    write(fake_user, "nowhere")
    done = fake_user.rayhpc("up", "-y", "cluster.yaml")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "head is 'nowhere'; write `head: job`" in done.stderr
    fake_user.write(
        "cluster.yaml",
        FILE.replace("head: {head}", "haed: job").format(
            name="x", least=1, partition="debug", cpus=1
        ),
    )
    done = fake_user.rayhpc("up", "-y", "cluster.yaml")
    assert "there is no 'haed' in this provider; did you mean 'head'?" in done.stderr
    assert not fake_user.cluster.requests()


def test_files_are_shared_so_none_are_copied(fake_user: User) -> None:
    write(fake_user)
    done = fake_user.rayhpc("rsync-up", "cluster.yaml", "cluster.yaml", "/tmp/x")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "nothing is copied: use `cp`" in done.stderr
