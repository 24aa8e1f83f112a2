"""The real Ray as engine on a real SLURM: four nodes, and a kill of everything."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.cached_environment import NotThereError
from tests.engines.environment import environment, interpreter
from tests.slurm.fake.cluster import ROOT
from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.test_ends import left, sessions
from tests.slurm.user import RAYHPC, User, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NODES = 4

PROGRAM = """
import sys, time
import ray
ray.init(logging_level="ERROR")
place = ray.remote(num_cpus=2, scheduling_strategy="SPREAD")(
    lambda: (time.sleep(1), ray.util.get_node_ip_address())[1]
)
print(len(set(ray.get([place.remote() for _ in range(4)]))), "nodes", flush=True)
if sys.argv[1] == "wait":
    time.sleep(1000)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """Somebody on a cluster whose nodes see the real Ray."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    try:
        interpreter()
    except NotThereError as error:
        pytest.skip(str(error))
    shown = (sys.base_prefix, sys.prefix, str(ROOT), str(environment().folder))
    lab = LabCluster(
        NODES,
        SLURMLAB_PREFIX="eng",
        SLURMLAB_PRIVATE_TMP="1",
        SLURMLAB_EXPOSE=":".join(dict.fromkeys(shown)),
    )
    somebody = User(lab, lab.home / "engine")
    somebody.write("program.py", PROGRAM)
    yield somebody
    lab.close()


def test_four_nodes_then_a_kill_of_everything(user: User) -> None:
    assert isinstance(user.cluster, LabCluster)
    lab = user.cluster
    venv = str(environment().folder / "venv")
    words = ("--engine", "ray", "--nodes", str(NODES), "--cpus-per-node", "2")
    python = f"{venv}/bin/python"
    done = user.submit(*words, "--", python, "program.py", "5", timeout=200)
    assert done.returncode == 5, done.stderr
    assert "4 nodes" in done.stdout
    assert eventually(lambda: left(lab) == [], 60), left(lab)

    submit = ("submit", "--detach", "--json", *words, "--", python, "program.py", "wait")
    job = str(json.loads(user.rayhpc(*submit, check=True).stdout)["id"])
    assert eventually(lambda: "4 nodes" in user.rayhpc("logs", job).stdout, 200), user.rayhpc(
        "logs", job
    ).stderr
    user.run("scancel", "--signal=KILL", "--full", job, check=True)
    user.run("scancel", "--signal=KILL", job)
    assert eventually(lambda: not [x for x in left(lab) if "process" in x], 60), left(lab)
    for name in lab.names:
        lab.verb("node", name, "-u", "hpcuser", *RAYHPC, "stop")
    assert not [x for x in left(lab) if "shm" in x]
    assert sessions(lab) == []
