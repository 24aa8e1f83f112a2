"""Promises about the end, and about what it all costs the scheduler's controller."""

from __future__ import annotations

import json
import re
import signal
import string
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from tests.slurm.fake.cluster import FakeCluster
from tests.slurm.fake.settings import Settings
from tests.slurm.lab_cluster import LabCluster
from tests.slurm.user import Cluster, User, eventually

KILL_WAIT_S = 5.0  # of the promises' lab
GONE_S = 60.0  # against a hang: SLURM's log says whether it had to kill

# Works on all nodes, and writes its checkpoint when it is told to end.
CHECKPOINTS = """
import os, signal, sys, time
import ray
ray.init("auto")
def end(number, frame):
    with open("checkpoint", "w") as file:
        file.write(str(ray.get(keeper.read.remote())))
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
class Keeper:
    def read(self):
        return 17
keeper = Keeper.remote()
assert ray.get(keeper.read.remote()) == 17
@ray.remote(scheduling_strategy="SPREAD", num_cpus=0.5)
def work():
    time.sleep(1000)
busy = [work.remote() for _ in range(3)]
print("up", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["scancel", "time-limit"])
def test_scancel_and_time_limit(lab: LabCluster, user: User, how: str) -> None:
    """The program is asked, writes its checkpoint with the cluster's help, and all is gone."""
    directory = user.directory / how
    user.run("mkdir", how, check=True)
    user.write("work.py", CHECKPOINTS)
    lines = ["#!/bin/bash", "#SBATCH --nodes=3 --cpus-per-task=2", f"cd {directory}"]
    user.write(
        "job.sh", "\n".join([*lines, "srun --cpus-per-task=2 rayhpc run -- python ../work.py"])
    )
    out = user.directory / f"{how}.out"
    job = user.run("sbatch", "--parsable", f"--output={out}", "job.sh", check=True).stdout.strip()
    assert eventually(lambda: out.exists() and "up" in out.read_text(), 30), out.read_text()
    if how == "scancel":
        user.run("scancel", job, check=True)
    else:
        # Its limit is over now, which the controller sees within half a minute.
        lab.end_limit_of(job)
        assert eventually(lambda: (directory / "checkpoint").exists(), 60)
    assert eventually(lambda: left(lab) == [], GONE_S), left(lab)
    assert ends_of_ranks(lab, job) == ["exit code 3", "exit code 0", "exit code 0"]
    assert (directory / "checkpoint").read_text() == "17"


def test_scancel_and_time_limit_of_a_program_that_does_not_heed(
    lab: LabCluster, user: User
) -> None:
    """It is ended before SLURM would do so, by the cluster, which says so and ends in order."""
    stubborn = "trap : TERM; echo up; while :; do sleep 1; done"
    submit = ("--detach", "--json", "--nodes", "3", "--", "bash", "-c", stubborn)
    job = str(json.loads(user.submit(*submit).stdout)["id"])
    assert eventually(lambda: user.rayhpc("logs", job).stdout == "up\n", 30)
    user.run("scancel", job, check=True)
    assert eventually(lambda: left(lab) == [], GONE_S), left(lab)
    assert ends_of_ranks(lab, job) == ["exit code 79", "exit code 0", "exit code 0"]
    assert user.rayhpc("wait", job).returncode == ExitCode.CANCELLED
    said = user.rayhpc("logs", job).stderr
    assert "it ran for 3 s after it was told to end (SLURM kills after 5 s" in said


def test_scancel_and_time_limit_are_known_to_doctor(user: User) -> None:
    done = user.run("srun", "--mpi=none", "rayhpc", "doctor", "--json", check=True)
    facts = json.loads(done.stdout)["allocation"]
    assert facts["KillWait"]["value"] == KILL_WAIT_S
    assert facts["KillWait"]["source"].endswith("/slurm.conf")
    assert facts["time after SIGTERM"]["value"] == 3


def test_exit_code(user: User) -> None:
    """The program's code is the step's; another rank's is 0, so that nobody hides it."""
    step = ["srun", "--mpi=none", "-N3", "-n3", "rayhpc", "run", "--quiet", "--"]
    for program, code in (("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", 128 + signal.SIGSEGV)):
        done = user.run(*step, "bash", "-c", program)
        assert done.returncode == code, done.stderr
        failed = re.findall(r"task (\d+)", done.stderr)
        assert failed == ([] if code == 0 else ["0"]), done.stderr


def test_exit_code_of_a_node_that_fails(user: User) -> None:
    """Not zero, at once, and one line with the node, the reason and what to do."""
    script = (
        "if [ $SLURM_PROCID = 1 ]; then export RAYHPC_TMPDIR=/no/such/place; fi; "
        "exec rayhpc run --start-timeout 600 -- true"
    )
    # `at once`: this waits for a minute, not for ten.
    done = user.run("srun", "--mpi=none", "-N3", "-n3", "bash", "-c", script)
    assert done.returncode == max(ExitCode.TOO_FEW_NODES, ExitCode.PERMISSION)
    assert re.search("[12] of 3 nodes joined", done.stderr)
    assert re.search(r"^  own2: no directory is fit for this session's sockets", done.stderr, re.M)
    assert "set RAYHPC_TMPDIR to a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_exit_code_tells_where_the_log_is(user: User) -> None:
    """A node that is lost on the way is named with its reason, and so is its log."""
    user.write("kill.py", KILLS_A_NODE)
    folder = user.directory / "folder"
    user.run("mkdir", "-m", "700", "folder", check=True)
    step = ["srun", "--mpi=none", "-N3", "-n3", "rayhpc", "run", "--", "python", "kill.py"]
    done = user.run(*step, RAYHPC_JOB_DIR=str(folder))
    assert done.returncode == max(5, ExitCode.NODE_LOST), done.stderr
    assert re.search(r"node own[23] .* SIGKILL; its log: \S+/folder/nodes", done.stderr)
    assert re.search(r"node own[23] \(10\.77\.0\.\d\) was lost: \S+", done.stderr)


KILLS_A_NODE = """
import os, signal, sys
import ray
ray.init("auto")
me = ray.get_runtime_context().get_node_id()
other = next(node for node in ray.nodes() if node["NodeID"] != me)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
strategy = NodeAffinitySchedulingStrategy(other["NodeID"], soft=False)
@ray.remote(max_retries=0, scheduling_strategy=strategy)
def kill():
    def parent(pid):
        return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    os.kill(parent(parent(os.getpid())), signal.SIGKILL)
try:
    ray.get(kill.remote(), timeout=60)
except Exception as error:
    print(type(error).__name__)
sys.exit(5)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    folder = tmp_path / "slurm"
    folder.mkdir()
    cluster = FakeCluster(folder, Settings(nodes=3))
    yield cluster
    cluster.close()


@pytest.fixture(params=["fake", "lab"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    chosen: Cluster = request.getfixturevalue(request.param)
    return chosen


def test_controller_load(cluster: Cluster) -> None:
    """A job with a cluster in it asks the controller for nothing that an empty job does not."""
    user = User(cluster, cluster.home / "controller-load")
    user.write("work.py", "import ray\nray.init('auto')\nprint(len(ray.nodes()))\n")

    def asked(*program: str) -> tuple[str, Counter[str]]:
        before = Counter(cluster.requests())
        done = user.run("srun", "--mpi=none", "--nodes=3", "--ntasks=3", *program, check=True)
        # The nodes' own reports come when they come; the programs' requests are what counts.
        found = Counter(cluster.requests()) - before
        return done.stdout, Counter({x: n for x, n in found.items() if x.startswith(_ASKED)})

    _, empty = asked("true")
    out, with_cluster = asked("rayhpc", "run", "--", "python", "work.py")
    assert out == "3\n"
    assert sum(empty.values()) > 0
    assert with_cluster == empty


def test_controller_load_while_a_job_runs(lab: LabCluster, user: User) -> None:
    """However long it runs, and whatever it does meanwhile."""
    go = user.directory / "go"
    user.write("work.py", WORKS_UNTIL)
    step = f"srun rayhpc run --quiet -- python work.py {go}\n"
    user.write("job.sh", f"#!/bin/bash\n#SBATCH --nodes=3 --output=out\n{step}")
    user.run("sbatch", "job.sh", check=True)
    out = user.directory / "out"
    assert eventually(lambda: out.exists() and "up" in out.read_text(), 30)
    before = requests_of_user(lab)
    time.sleep(3)  # the job runs, and is to be silent
    assert requests_of_user(lab) == before
    user.run("touch", str(go), check=True)
    assert eventually(lambda: not [each for each in left(lab) if ": process " in each]), left(lab)


WORKS_UNTIL = """
import os, sys, time
import ray
ray.init("auto")
print("up", flush=True)
while not os.path.exists(sys.argv[1]):
    ray.get(ray.remote(abs).remote(-1))
    time.sleep(0.05)
"""

# What commands ask a real controller, and the fake one (by its verbs, which are small letters).
_ASKED = ("REQUEST_", *string.ascii_lowercase)


def requests_of_user(lab: LabCluster) -> int:
    """How many requests of the user's slurmctld has counted."""
    text = lab.verb("exec", "-u", "root", "sdiag")
    found = re.search(rf"\(\s*{lab.home.stat().st_uid}\)\s+count:(\d+)", text)
    assert found, text
    return int(found[1])


def ends_of_ranks(lab: LabCluster, job: str) -> list[str]:
    """How SLURM saw each rank of a job end: one that it killed, by "signal 9"."""
    line = re.compile(rf"\[{job}\.0\] task (\d+) \(\d+\) exited.* ((?:exit code|signal) \d+)\.")
    logs = [lab.base / "lab" / "log" / f"slurmd.{name}.log" for name in lab.names]

    def ended() -> list[tuple[str, str]]:
        return sorted(line.findall("".join(log.read_text() for log in logs)))

    assert eventually(lambda: len(ended()) == len(lab.names)), ended()
    return [how for _, how in ended()]


def left(lab: LabCluster) -> list[str]:
    """Processes, shared memory and sockets of the user's on the nodes."""
    script = (
        "for p in $(pgrep -u hpcuser); do echo process $p $(tr '\\0' ' ' </proc/$p/cmdline); done; "
        "ls -A /dev/shm; find /tmp/rayhpc-$(id -u hpcuser) -type s 2>/dev/null"
    )
    found = []
    for name in lab.names:
        said = lab.verb("node", name, "bash", "-c", f"{{ {script}; }} || true")
        found += [f"{name}: {line}" for line in said.splitlines()]
    return found
