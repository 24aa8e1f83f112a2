"""Nodes that are not as they should be: who says what, how soon, and that the nodes are given back.

On the real SLURM only: each node is to have a disk, a /dev/shm and processors of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator

import msgspec
import pytest

from rayhpc.exit_codes import ExitCode
from rayhpc.launch import node_config
from rayhpc.launch.rendezvous import Record
from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import User

# Longer than `User.run` waits: whoever sits it out fails.
START_S = 600.0


def run(
    user: User, on_second: str, *words: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`srun rayhpc run` on three nodes, after a line of shell on the second of them."""
    script = f'if [ $SLURM_PROCID = 1 ]; then {on_second}; fi; exec rayhpc run "$@" -- true'
    # By name: the second may still be completing the step of the test before.
    place = ["--nodes=3", "--ntasks=3", "--nodelist=node[1-3]"]
    step = ["srun", "--mpi=none", *place, "bash", "-c", script, "bash"]
    done = user.run(*step, *(words or ("--start-timeout", f"{START_S:g}")), **environ)
    assert "Traceback" not in done.stderr
    # Its nodes are free again.
    jobs = user.run("squeue", "--noheader", "--states=RUNNING", "--format=%A").stdout.split()
    assert jobs == []
    return done


@pytest.mark.parametrize(
    ("patch", "code", "words"),
    [
        (
            "import rayhpc.launch.node_config as c; c.python_version = lambda: '3.9'",
            ExitCode.REFUSED,
            "runs Python 3.9; .* Start the node with Python 3",
        ),
        (
            "import rayhpc; rayhpc.__version__ = '9.9'",
            ExitCode.REFUSED,
            "runs rayhpc 9.9 .* Install the same version on all nodes",
        ),
    ],
    ids=["python", "rayhpc"],
)
def test_another_version_on_one_node(
    lab_user: User, patch: str, code: ExitCode, words: str
) -> None:
    site = lab_user.write("sitecustomize.py", patch + "\n").parent
    done = run(lab_user, f"export PYTHONPATH={site}:$PYTHONPATH")
    assert done.returncode == max(ExitCode.TOO_FEW_NODES, code), done.stderr
    assert re.search(f"^  node2: The head runs .*, node2 {words}", done.stderr, re.MULTILINE)


def test_no_interpreter_on_one_node(lab_user: User) -> None:
    done = run(lab_user, "exec /no/such/python -m rayhpc.cli.main", "--start-timeout", "6")
    assert done.returncode == max(ExitCode.TOO_FEW_NODES, 127), done.stderr
    assert "2 of 3 nodes joined" in done.stderr
    assert re.search(r"^  node2: no word from it: .*/bin/python\S*", done.stderr, re.MULTILINE)


def test_no_directory_that_the_nodes_share(lab_user: User) -> None:
    done = run(lab_user, ":", "--start-timeout", "6", RAYHPC_SHARED_DIR="/dev/shm")
    assert done.returncode == max(ExitCode.TOO_FEW_NODES, ExitCode.RENDEZVOUS), done.stderr
    assert "1 of 3 nodes joined" in done.stderr
    assert "do all nodes see the same directory?" in done.stderr
    assert "RAYHPC_SHARED_DIR" in done.stderr


def test_no_directory_that_the_login_node_shares(lab_user: User) -> None:
    """The login node and the nodes of this lab share all but /dev/shm."""
    done = lab_user.submit("--job-dir", "/dev/shm/jobs", "--nodes", "2", "--", "true", timeout=90)
    assert done.returncode != 0
    assert "--job-dir" in done.stderr
    assert "/dev/shm/jobs" in done.stderr


@pytest.fixture
def full(lab: LabCluster) -> Iterator[str]:
    """A directory that is a full disk on the second node."""
    name = lab.names[1]
    options = "size=4k,mode=1777"
    lab.verb("node", name, "mount", "-t", "tmpfs", "-o", options, "full", "/mnt")
    lab.verb("node", name, "-u", "hpcuser", "bash", "-c", "head -c 4096 /dev/zero >/mnt/x")
    yield "/mnt"
    lab.verb("node", name, "umount", "/mnt")


def test_a_full_disk_under_a_session(lab_user: User, full: str) -> None:
    done = run(lab_user, f"export RAYHPC_TMPDIR={full}")
    assert done.returncode >= ExitCode.TOO_FEW_NODES, done.stderr
    assert re.search(
        r"^  node2: the session.*/mnt.*No space left on device", done.stderr, re.MULTILINE
    )
    assert "RAYHPC_TMPDIR" in done.stderr


STALE = """#!/bin/bash
#SBATCH --nodes=3 --output=out
mkdir -m 700 -p .rayhpc
umask 077
cp stale .rayhpc/$SLURM_JOB_ID.0.0.key
srun bash -c 'if [ $SLURM_PROCID = 0 ]; then
    while ! ls /tmp/rayhpc-$UID/*/session.json >/dev/null 2>&1; do :; done; fi
    exec rayhpc run --start-timeout 60 -- echo fine'
"""


def test_the_record_of_a_head_that_is_gone(lab_user: User) -> None:
    """Ranks that find it first try it in vain, and then find the new one."""
    key = node_config.new_cluster().key
    dead = msgspec.structs.replace(key, head_endpoints=[("10.77.0.2", 9), ("10.77.200.1", 9)])
    record = Record(key=dead, written=time.time() - 3600)
    lab_user.write("stale", msgspec.json.encode(record).decode())
    lab_user.write("job.sh", STALE)
    assert lab_user.batch("job.sh") == 0, (lab_user.directory / "out").read_text()
    assert "fine" in (lab_user.directory / "out").read_text()


@pytest.fixture(scope="module")
def real() -> Iterator[LabCluster]:
    """A node that has this machine's processors, and binds tasks to what they were given."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    if (os.cpu_count() or 1) < 2:
        pytest.skip("a step smaller than its allocation needs two processors")
    cluster = LabCluster(1, SLURMLAB_REAL_CPUS="1", SLURMLAB_PREFIX="real")
    yield cluster
    cluster.close()


def test_submit_gives_the_step_all_of_its_processors(real: LabCluster) -> None:
    user = User(real, real.home / "right")
    look = "import ray; ray.init('auto'); print('CPUs', int(ray.cluster_resources()['CPU']))"
    done = user.submit("--cpus-per-node", "2", "--", "python", "-c", look)
    assert done.stdout == "CPUs 2\n", done.stderr
    assert "SRUN_CPUS_PER_TASK" not in done.stderr


SMALL = """#!/bin/bash
#SBATCH --nodes=1 --cpus-per-task=2 --output=small
export PYTHONUNBUFFERED=1
look="import ray; ray.init('auto'); print('CPUs', int(ray.cluster_resources()['CPU']))"
echo srun; srun --cpu-bind=cores rayhpc run -- python -c "$look"
echo exported; SRUN_CPUS_PER_TASK=2 srun rayhpc run -- python -c "$look"
echo alone; rayhpc run -- python -c "$look"
"""


def test_a_step_smaller_than_its_allocation(real: LabCluster) -> None:
    """Since 22.05 srun does not take --cpus-per-task from sbatch; who forgets it is told."""
    user = User(real, real.home / "small")
    user.write("job.sh", SMALL)
    assert user.batch("job.sh") == 0
    text = (user.directory / "small").read_text()
    _, plain, exported, alone = re.split("^(?:srun|exported|alone)$", text, flags=re.MULTILINE)
    assert "CPUs 1" in plain
    assert "this step uses 1 of 2 CPUs" in plain
    assert "export SRUN_CPUS_PER_TASK=2 before srun" in plain
    for better in (exported, alone):
        assert "CPUs 2" in better, text
        assert "this step uses" not in better


def test_ranks_end_with_rank_0_where_it_can_write_nowhere(lab_user: User) -> None:
    """What the nodes share is read-only, as a home may be."""
    user = lab_user
    home = user.directory / "closed"
    user.run("mkdir", "-m", "0500", str(home), check=True)
    run = f"rayhpc run --start-timeout {START_S:g} -- true"
    ends = f'{run}; code=$?; echo "$SLURM_PROCID $code"; exit $code'
    step = ["srun", "--mpi=none", "--nodes=2", "--ntasks=2"]
    done = user.run(*step, "bash", "-c", ends, RAYHPC_SHARED_DIR=str(home))
    assert done.returncode == ExitCode.RENDEZVOUS, done.stderr
    rows = sorted(line.split() for line in done.stdout.splitlines())
    assert [(rank, int(code)) for rank, code in rows] == [
        ("0", ExitCode.RENDEZVOUS),
        ("1", ExitCode.RENDEZVOUS),
    ]
    assert str(home) in done.stderr
