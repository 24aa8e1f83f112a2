"""The same one line on YARN and on Grid Engine: two nodes of the real Ray, and nothing left."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from tests.engines.environment import environment, why_not_all
from tests.sge.lab_cluster import SgeCluster, why_not
from tests.slurm.fake.cluster import ROOT
from tests.slurm.user import User, eventually
from tests.yarn.labs import DEFAULT_VERSION, lab_of
from tests.yarn.terminal import Terminal
from yarn.lab.processes import of_containers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
if why_not_all():
    pytestmark.append(pytest.mark.skip(reason=why_not_all()))

PYTHON = str(environment().folder / "venv" / "bin" / "python")
PROGRAM = """#RAYHPC --engine ray --nodes 2 --cpus-per-node 2
import sys
import ray
ray.init(logging_level="ERROR")
place = ray.remote(num_cpus=2, scheduling_strategy="SPREAD")(
    lambda: ray.get_runtime_context().get_node_id()
)
found = set()
while len(found) < 2:
    found.update(ray.get([place.remote() for _ in range(2)]))
print(len(found), "nodes", ray.__file__, [node["Resources"]["CPU"] for node in ray.nodes()])
sys.exit(5)
"""
# As in the first tutorial: the addresses of the nodes on which its tasks were.
ADDRESSES = """#RAYHPC --engine ray --nodes 2 --cpus-per-node 2
import os, time
import ray
ray.init(logging_level="ERROR")

@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def f():
    time.sleep(0.01)
    return ray.util.get_node_ip_address()

found = set()
while len(found) < 2:
    found |= set(ray.get([f.remote() for _ in range(100)]))
print("addresses", *sorted(found), flush=True)
if os.path.exists("stay"):
    ray.get(ray.remote(time.sleep).remote(600))
"""


@pytest.fixture
def somebody() -> Iterator[User]:
    """Somebody on a Grid Engine whose hosts see the real Ray."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    shown = (sys.base_prefix, sys.prefix, str(ROOT), str(environment().folder))
    lab = SgeCluster(2, SGELAB_EXPOSE=":".join(dict.fromkeys(shown)))
    yield User(lab, lab.home / "engine")
    lab.close()


def test_on_grid_engine(somebody: User) -> None:
    somebody.write("program.py", PROGRAM)
    done = somebody.submit("--", PYTHON, "program.py", timeout=200)
    assert done.returncode == 5, done.stderr
    assert "2 nodes" in done.stdout
    assert "site-packages/ray/" in done.stdout
    lab = somebody.cluster
    assert isinstance(lab, SgeCluster)
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()
    somebody.write("addresses.py", ADDRESSES)
    done = somebody.submit("--", PYTHON, "addresses.py", timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("10.78.0.") == 2, done.stdout
    somebody.write("stay", "")
    submitted = somebody.rayhpc("submit", "--json", "--detach", "--", PYTHON, "addresses.py")
    job = str(json.loads(submitted.stdout)["id"])
    assert eventually(lambda: "addresses" in somebody.rayhpc("logs", job).stdout, 120), job
    somebody.run("qdel", job, check=True)
    assert eventually(lambda: lab.processes() == [], 60), lab.processes()


def test_on_yarn(tmp_path: Path) -> None:
    with lab_of(DEFAULT_VERSION, nodes=2) as lab, lab.on_clients_host():
        user = Terminal(lab.client_environment(), tmp_path / "home")
        user.write("program.py", PROGRAM)
        words = ("submit", "--scheduler", "yarn", "--mem", "3G", "--", PYTHON, "program.py")
        done = user.run(*words, limit_s=200)
        assert done.returncode == 5, done.stderr
        assert "2 nodes" in done.stdout
        assert "site-packages/ray/" in done.stdout
        assert eventually(lambda: not of_containers(lab.layout.run), 60)
        user.write("addresses.py", ADDRESSES)
        words = ("submit", "--scheduler", "yarn", "--mem", "3G", "--", PYTHON, "addresses.py")
        done = user.run(*words, limit_s=200)
        assert done.returncode == 0, done.stderr
        addresses = sorted(lab.layout.address(name) for name in lab.layout.node_managers)
        assert done.stdout.splitlines()[-1].split()[1:] == addresses
        user.write("stay", "")
        follower = user.start(*words)
        assert eventually(lambda: "addresses" in user.run("logs").stdout, 120)
        assert user.run("cancel").returncode == 0
        assert follower.wait(60) == ExitCode.CANCELLED
        follower.communicate()
        assert eventually(lambda: not of_containers(lab.layout.run), 60)
