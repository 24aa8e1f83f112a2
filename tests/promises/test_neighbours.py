"""Promises about sharing a node: with oneself twenty times over, and with somebody else."""

from __future__ import annotations

import ast
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from rayhpc.machine import scratch
from tests.slurm.fake.cluster import ROOT
from tests.slurm.lab_cluster import LabCluster
from tests.slurm.user import RAYHPC, User, eventually

CLUSTERS = 20
_PORT = re.compile(r"(?<![a-z])ports?(?![a-z])", re.IGNORECASE)

# Says where it is, waits until all the others have done so too, and works.
TOGETHER = """
import json, os, sys
import rayhpc
rayhpc.init("auto") if "RAYHPC_ADDRESS" in os.environ else rayhpc.init(num_cpus=1)
address = rayhpc.get_runtime_context().gcs_address
print(json.dumps(address), flush=True)
sys.stdin.readline()
@rayhpc.remote
def where():
    return rayhpc.get_runtime_context().gcs_address
nodes = [node["NodeID"] for node in rayhpc.nodes()]
print(json.dumps([rayhpc.get(where.remote()), nodes, os.environ.get("RAYHPC_ADDRESS")]))
"""


def test_ports(short_tmp: Path) -> None:
    """Twenty clusters of one user, started together, half of them from inside a program."""
    environ = {**os.environ, "RAYHPC_TMPDIR": str(short_tmp)}
    program = [sys.executable, "-c", TOGETHER]
    run = [*RAYHPC, "run", "--quiet", "--num-cpus", "1", "--"]
    started = [
        subprocess.Popen(
            [*run, *program] if number % 2 else program,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(CLUSTERS)
    ]
    try:
        addresses = [json.loads(_line(process)) for process in started]
        assert len(set(addresses)) == CLUSTERS
        ended = [process.communicate("go\n", timeout=60)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert [process.returncode for process in started] == [0] * CLUSTERS
    told = [json.loads(text) for text in ended]
    assert [seen for seen, _, _ in told] == addresses
    assert all(len(nodes) == 1 for _, nodes, _ in told)
    assert len({nodes[0] for _, nodes, _ in told}) == CLUSTERS
    assert [given for _, _, given in told][1::2] == addresses[1::2]
    assert list(scratch.session_base({"RAYHPC_TMPDIR": str(short_tmp)}).iterdir()) == []


def test_ports_are_nowhere_written_down() -> None:
    """No listener has a number of its own.

    The one exception is a wish: `rayhpc start --head` takes Ray's port if it is free, and says
    which one it got.
    """
    found = {
        f"{path.parent.name}/{path.name}: {node.value}"
        for path, tree in sources("wire", "head", "raylet", "launch", "runtime")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and type(node.value) is int
        and 1024 < node.value < 65535
        and _PORT.search(path.read_text().splitlines()[node.lineno - 1])
    }
    assert found == {"launch/start_stop.py: 6379"}


@pytest.mark.parametrize("trap", ["link", "mode", "file", "owner"])
def test_tmp_collisions(short_tmp: Path, trap: str) -> None:
    """A directory of ours that somebody else could have made is refused, by name and remedy."""
    base = short_tmp / f"rayhpc-{os.geteuid()}"
    if trap == "link":
        (short_tmp / "elsewhere").mkdir()
        base.symlink_to(short_tmp / "elsewhere")
    elif trap == "file":
        base.write_text("")
    else:
        base.mkdir(mode=0o700)
    if trap == "mode":
        base.chmod(0o770)
    if trap == "owner":
        if os.geteuid() != 0:
            pytest.skip("giving a directory away needs root")
        os.chown(base, 12345, 12345)
    done = subprocess.run(
        [*RAYHPC, "run", "--num-cpus", "1", "--", "true"],
        env={**os.environ, "RAYHPC_TMPDIR": str(short_tmp)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.PERMISSION
    assert str(base) in done.stderr
    assert "RAYHPC_TMPDIR" in done.stderr
    assert list((short_tmp / "elsewhere").iterdir() if trap == "link" else []) == []


# What a cluster is to its program: where its tasks run, as whom, and how many nodes there are.
LOOK = """
import json, os
import ray
ray.init(address="auto")
@ray.remote(scheduling_strategy="SPREAD")
def where():
    return os.environ["SLURM_JOB_ID"], os.getuid()
print(json.dumps({
    "address": ray.get_runtime_context().gcs_address,
    "nodes": len(ray.nodes()),
    "mine": [os.environ["SLURM_JOB_ID"], os.getuid()],
    "seen": sorted(set(ray.get([where.remote() for _ in range(12)]))),
}))
"""
JOBS_OF_EACH = 3


def test_tmp_collisions_of_two_users_jobs(lab: LabCluster) -> None:
    """They start together on the same nodes, which share one /tmp, and meet only their own."""
    users = ("hpcuser", "hpcother")
    step = ["srun", "--mpi=none", "--quiet", "--ntasks=2", "-w", ",".join(lab.names[:2])]
    crowd = [
        subprocess.Popen(
            [*lab.prefix(user), *step, "rayhpc", "run", "--quiet", "--", "python", "-c", LOOK],
            env=lab.environ(SLURMLAB_CWD=str(lab.base / "home" / user)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for user in users * JOBS_OF_EACH
    ]
    told = [json.loads(process.communicate(timeout=100)[0]) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * len(crowd)
    assert len({each["address"] for each in told}) == len(crowd)
    assert all(each["nodes"] == 2 and each["seen"] == [each["mine"]] for each in told)
    ids = [pwd.getpwnam(user).pw_uid for user in users]
    assert [each["mine"][1] for each in told] == ids * JOBS_OF_EACH
    for user, other in zip(users, reversed(ids), strict=True):
        with pytest.raises(AssertionError, match="denied"):
            lab.verb("node", lab.names[0], "-u", user, "ls", f"/tmp/rayhpc-{other}")


def test_wrong_cluster_is_found_by_no_scan() -> None:
    """Nothing looks through the node's processes to find a cluster, or whom to end."""
    words = {"process_iter", "pid_exists", "pgrep", "pkill", "killall", "/proc", "pids()"}
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            name = node.value if isinstance(node, ast.Constant) else getattr(node, "attr", "")
            listing = isinstance(node, ast.Call) and ast.unparse(node).endswith("psutil.pids()")
            if listing or (isinstance(name, str) and name in words):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


WAIT = """
import sys, rayhpc
rayhpc.init("auto")
print(rayhpc.get_runtime_context().gcs_address, flush=True)
sys.stdin.readline()
print(len(rayhpc.nodes()), rayhpc.get(rayhpc.remote(lambda: 6 * 7).remote()), flush=True)
"""


class OnNode:
    """A user's job of one task on the lab's first node, and that user's commands there."""

    def __init__(self, lab: LabCluster, user: str) -> None:
        self._lab, self.user = lab, user
        self.home = lab.base / "home" / user
        step = ["srun", "--mpi=none", "--unbuffered", "--ntasks=1", "--cpus-per-task=2"]
        program = ["rayhpc", "run", "--", "python", "-c", WAIT]
        self.process = subprocess.Popen(
            [*lab.prefix(user), *step, "-w", lab.names[0], *program],
            env=self._environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = _line(self.process).strip()

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command of this user's on the node itself."""
        return subprocess.run(
            [*self._lab.prefix(self.user, self._lab.names[0]), *words],
            env={**self._environ(), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def finish(self) -> str:
        """Let the job work and end; what it printed."""
        out, _ = self.process.communicate("go\n", timeout=60)
        assert self.process.returncode == 0
        return out

    def _environ(self) -> dict[str, str]:
        return self._lab.environ(SLURMLAB_CWD=str(self.home))


@pytest.fixture
def two_users(lab: LabCluster) -> Iterator[tuple[OnNode, OnNode]]:
    jobs = [OnNode(lab, "hpcuser"), OnNode(lab, "hpcother")]
    yield jobs[0], jobs[1]
    _end(lab, jobs)


def test_wrong_cluster(two_users: tuple[OnNode, OnNode]) -> None:
    """Two users on one node: neither finds, sees or gets into the other's cluster."""
    mine, other = two_users
    assert mine.address != other.address
    look = "import rayhpc; rayhpc.init('auto'); print(rayhpc.get_runtime_context().gcs_address)"
    for user in two_users:
        done = user.run("python", "-c", look)
        assert done.stdout.strip() == user.address, done.stderr
    # Told outright, the other's address leads nowhere, and the reason says why.
    done = mine.run("python", "-c", look, RAYHPC_ADDRESS=other.address)
    assert done.returncode != 0
    assert other.address in done.stderr
    assert mine.finish() == "1 42\n"
    assert other.finish() == "1 42\n"


@pytest.fixture
def two_jobs(lab: LabCluster) -> Iterator[tuple[OnNode, OnNode]]:
    jobs = [OnNode(lab, "hpcuser"), OnNode(lab, "hpcuser")]
    yield jobs[0], jobs[1]
    _end(lab, jobs)


def test_wrong_cluster_of_two_jobs_of_one_user(two_jobs: tuple[OnNode, OnNode]) -> None:
    """On one node, too, "auto" is the job's own."""
    first, second = two_jobs
    assert first.address != second.address
    assert (first.finish(), second.finish()) == ("1 42\n", "1 42\n")


def test_stop_kills_others_of_the_same_user_neither(two_jobs: tuple[OnNode, OnNode]) -> None:
    first, second = two_jobs
    done = first.run(*RAYHPC, "stop", "--address", first.address)
    assert done.returncode == 0, done.stderr
    assert first.process.wait(30) != 0
    assert second.finish() == "1 42\n"


def test_stop_kills_others(two_users: tuple[OnNode, OnNode]) -> None:
    """`stop` ends what hangs from the user's own sessions, whatever else looks like it."""
    mine, other = two_users
    names = "exec -a 'raylet ray::IDLE python -m rayhpc.launch.node' sleep 100"
    decoy = mine.run("bash", "-c", f"({names}) >/dev/null 2>&1 & echo $!").stdout.strip()
    done = mine.run(*RAYHPC, "stop")
    assert done.returncode == 0, done.stderr
    assert mine.process.wait(30) != 0
    # Remains may be there for a while, of a node on another host that another test has killed.
    base = f"/tmp/rayhpc-{mine.home.stat().st_uid}"
    assert mine.run("find", base, "-name", "session.json").stdout == ""
    assert mine.run("kill", decoy).returncode == 0
    assert other.finish() == "1 42\n"


def test_stop_kills_others_not_even_by_a_pid_used_again(lab: LabCluster, user: User) -> None:
    """A session's record that names a process of another start is a dead session, no target."""
    node = [*lab.prefix(node=lab.names[1]), *RAYHPC]
    environ = lab.environ(SLURMLAB_CWD=str(user.directory))
    key = user.directory / "key"
    words = ["start", "--head", "--num-cpus", "1", "--key-file", str(key)]
    subprocess.run([*node, *words], env=environ, capture_output=True, timeout=60, check=True)
    base = Path("/tmp", f"rayhpc-{lab.home.stat().st_uid}")
    (record,) = base.glob("*/session.json")
    try:
        told = json.loads(record.read_text())
        changed = {**told, "started": told["started"] + 1}
        record.write_text(json.dumps(changed))
        subprocess.run([*node, "stop"], env=environ, capture_output=True, timeout=60, check=True)
        inside = lab.verb("node", lab.names[1], "-u", "root", "ps", "-o", "pid=", "-u", "hpcuser")
        assert str(told["pid"]) in inside.split()
        record.write_text(json.dumps(told))
    finally:
        subprocess.run([*node, "stop"], env=environ, capture_output=True, timeout=60, check=True)
    assert eventually(lambda: not list(base.glob("*/session.json")))


def sources(*parts: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package, or of these parts of it."""
    for part in parts or ("",):
        for path in sorted((ROOT / "rayhpc" / part).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def _end(lab: LabCluster, jobs: list[OnNode]) -> None:
    for job in jobs:
        job.process.kill()
        job.process.communicate()
        lab.verb("exec", "-u", "root", "scancel", f"--user={job.user}")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"ended with {process.wait(10)}"
    return line
