"""However a job ends, nothing of it stays on any node; and what was lost is said.

On the real SLURM only, with both ways it has to track processes: cgroups, and the process tree.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import RAYHPC, User, eventually

WORK = """
import sys, time
import numpy as np
import ray
ray.init(address="auto")
big = ray.put(np.ones(1 << 20))
@ray.remote(num_cpus=0.1)
def busy(array):
    time.sleep(1000)
waiting = [busy.remote(big) for _ in range(6)]
time.sleep(1)
print("up", flush=True)
mode = sys.argv[1]
if mode == "return":
    sys.exit(0)
if mode == "raise":
    raise RuntimeError("as it happens")
time.sleep(1000)
"""


@pytest.fixture(scope="module", params=["cgroup", "linuxproc"])
def tracked(request: pytest.FixtureRequest) -> Iterator[LabCluster]:
    """A lab with that way of tracking processes."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    cluster = LabCluster(
        3, SLURMLAB_PROCTRACK=request.param, SLURMLAB_KILLWAIT="5", SLURMLAB_PRIVATE_TMP="1"
    )
    yield cluster
    cluster.close()


@pytest.fixture
def somebody(tracked: LabCluster, request: pytest.FixtureRequest) -> Iterator[User]:
    user = User(tracked, tracked.home / re.sub(r"\W+", "-", request.node.name))
    user.write("work.py", WORK)
    yield user
    tracked.verb("exec", "-u", "root", "scancel", "--user=hpcuser")


def left(lab: LabCluster, nodes: list[str] | None = None) -> list[str]:
    """Processes and shared memory on the nodes, and session directories that are not empty."""
    found = []
    for name in nodes or lab.names:
        script = (
            "for p in $(pgrep -u hpcuser); do echo process $p $(tr '\\0' ' ' </proc/$p/cmdline); "
            "done; for f in $(ls -A /dev/shm); do echo shm $f; done; "
            "find /tmp/rayhpc-$(id -u hpcuser) -type s 2>/dev/null"
        )
        found += [
            f"{name}: {line}" for line in lab.verb("node", name, "bash", "-c", script).splitlines()
        ]
    return found


def started(user: User, mode: str, *words: str) -> str:
    """A job on all nodes that works; its number."""
    submit = ("submit", "--detach", "--json", "--nodes", "3", "--cpus-per-node", "2", *words)
    done = user.rayhpc(*submit, "--", "python", "work.py", mode, check=True)
    job = str(json.loads(done.stdout)["id"])
    assert eventually(lambda: "up" in user.rayhpc("logs", job).stdout, 30), user.rayhpc(
        "logs"
    ).stderr
    return job


@pytest.mark.parametrize(
    ("mode", "how", "code"),
    [
        ("return", None, 0),
        ("raise", None, 1),
        ("wait", ["scancel"], 143),
        ("wait", ["scancel", "--signal=USR1"], 138),
    ],
    ids=["returns", "raises", "scancel", "usr1"],
)
def test_an_orderly_end_leaves_nothing(
    tracked: LabCluster, somebody: User, mode: str, how: list[str] | None, code: int
) -> None:
    job = started(somebody, mode)
    if how is not None:
        somebody.run(*how, job, check=True)
    done = somebody.rayhpc("wait", job)
    assert done.returncode == code, somebody.rayhpc("logs", job).stderr
    assert eventually(lambda: left(tracked) == [], 60), left(tracked)


def test_a_kill_of_everything_leaves_nothing(tracked: LabCluster, somebody: User) -> None:
    job = started(somebody, "wait")
    somebody.run("scancel", "--signal=KILL", "--full", job, check=True)
    somebody.run("scancel", "--signal=KILL", job)
    assert eventually(lambda: not [x for x in left(tracked) if "process" in x], 60), left(tracked)
    # What may stay is an empty directory, until this user's next command on the node.
    for name in tracked.names:
        tracked.verb("node", name, "-u", "hpcuser", *RAYHPC, "stop")
    assert left(tracked) == []
    assert sessions(tracked) == []


def test_a_node_that_loses_power_is_reported_and_leaves_nothing_elsewhere(
    tracked: LabCluster, somebody: User
) -> None:
    submit = (*RAYHPC, "submit", "--nodes", "3", "--no-requeue", "--", "python", "work.py", "wait")
    process = somebody.start(*submit)
    _wait_until_up(process)
    job = somebody.run("squeue", "-h", "-t", "running", "-o", "%i", check=True).stdout.strip()
    tracked.verb("node-kill", "node2")
    try:
        done = somebody.rayhpc("wait", job, timeout=90)
        assert done.returncode != 0
        _, said = process.communicate(timeout=90)
        assert process.returncode not in (0, None)
        assert "node2" in said or "NODE_FAIL" in said
        assert "Traceback" not in said
        assert eventually(lambda: left(tracked, ["node1", "node3"]) == [], 60), left(
            tracked, ["node1", "node3"]
        )
    finally:
        tracked.verb("node-start", "node2")
        _all_idle(tracked)


def test_a_restart_of_slurmd_does_no_harm(tracked: LabCluster, somebody: User) -> None:
    job = started(somebody, "wait")
    tracked.verb("slurmd-kill", "node2")
    tracked.verb("slurmd-start", "node2")
    somebody.run("scancel", job, check=True)
    assert somebody.rayhpc("wait", job).returncode == 143
    assert eventually(lambda: left(tracked) == [], 60), left(tracked)


REDO = """
import os, sys, time
import ray
ray.init(address="auto")
@ray.remote(max_retries=5, scheduling_strategy="SPREAD")
def square(x):
    time.sleep(0.5)
    return x * x
refs = [square.remote(x) for x in range(40)]
print("up", flush=True)
print(sum(ray.get(refs)), flush=True)
"""


def test_with_no_kill_the_work_of_a_lost_node_is_done_again(
    tracked: LabCluster, somebody: User
) -> None:
    somebody.write("redo.py", REDO)
    process = somebody.start(
        *RAYHPC, "submit", "--nodes", "3", "--no-kill", "--", "python", "redo.py"
    )
    _wait_until_up(process)
    tracked.verb("node-kill", "node3")
    try:
        out, said = process.communicate(timeout=90)
        assert (process.returncode, out) == (0, f"{sum(x * x for x in range(40))}\n"), said
        assert "node3" in said
    finally:
        tracked.verb("node-start", "node3")
        _all_idle(tracked)


@pytest.mark.timeout(200)
def test_the_time_limit_is_an_orderly_end(lab: LabCluster, lab_user: User) -> None:
    """SLURM looks every half minute whether a job is over its time."""
    lab_user.write("work.py", WORK)
    job = started(lab_user, "wait")
    lab.end_limit_of(job)
    assert lab_user.rayhpc("wait", job, timeout=120).returncode == 143
    assert eventually(lambda: left(lab, lab.names[:3]) == [], 60), left(lab, lab.names[:3])


def sessions(lab: LabCluster) -> list[str]:
    """What is in the user's directory for sessions."""
    script = "ls -A /tmp/rayhpc-$(id -u hpcuser) 2>/dev/null || true"
    return lab.verb("node", lab.names[0], "bash", "-c", script).split()


def _wait_until_up(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "up\n":
        process.terminate()
        raise AssertionError(line + "".join(process.communicate(timeout=20)))


def _all_idle(lab: LabCluster) -> None:
    def idle() -> bool:
        shown = subprocess.run(
            [*lab.prefix(), "sinfo", "-h", "-p", "debug", "-N", "-o", "%T"],
            env=lab.environ(),
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return shown.stdout.split() == ["idle"] * len(lab.names)

    assert eventually(idle, 40)
