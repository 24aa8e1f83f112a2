"""`rayhpc up` on a real control plane: the seed's program, a lost pod, an absent server."""

from __future__ import annotations

import json

import pytest

from rayhpc.exit_codes import ExitCode
from tests.kubernetes.desk import Desk
from tests.kubernetes.files import cluster_yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ADDRESSES = """
import sys, time, ray
ray.init(address="auto")
while len([x for x in ray.nodes() if x["Alive"]]) < 3:
    time.sleep(0.1)

@ray.remote
def where():
    time.sleep(0.2)
    return ray.util.get_node_ip_address()

@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
def anywhere():
    time.sleep(0.05)
    return ray.util.get_node_ip_address()

found = set(ray.get([where.remote() for _ in range(8)] + [anywhere.remote() for _ in range(30)]))
print(len(found), *sorted(found), sys.argv[1:])
"""
BURST = """
import time, ray
ray.init(address="auto")

@ray.remote
def work(number):
    time.sleep(1.0)
    return number

most, left, begun = 0, [], time.monotonic()
while left or most == 0:
    # Work until all have come, however long a pod takes to start here.
    if most < 3 and len(left) < 20 and time.monotonic() - begun < 60:
        left += [work.remote(x) for x in range(20)]
    _, left = ray.wait(left, timeout=0.2, num_returns=len(left))
    most = max(most, len([x for x in ray.nodes() if x["Alive"]]) - 1)
print("most", most, flush=True)
while len([x for x in ray.nodes() if x["Alive"]]) > 1:
    time.sleep(0.2)
print("least 0", flush=True)
"""
PATIENT = """
import time, ray
ray.init(address="auto")

@ray.remote(max_retries=5)
def work(number):
    time.sleep(0.5)
    return number

print("begun", flush=True)
assert ray.get([work.remote(x) for x in range(30)]) == list(range(30))
print("done", flush=True)
"""
NOTHING = dict.fromkeys(
    ("jobs", "pods", "secrets", "serviceaccounts", "roles", "rolebindings", "processes"), 0
)


def test_the_seeds_program_prints_three_addresses(desk: Desk) -> None:
    desk.write(cluster_yaml(least=2, most=2))
    up = desk.rayhpc("up", "-y", str(desk.file))
    assert up.returncode == 0, up.stderr
    done = desk.rayhpc("submit", "demo", desk.script(ADDRESSES), "--an", "argument")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "3", done.stdout
    assert done.stdout.rstrip().endswith("['--an', 'argument']")
    assert len(desk.rayhpc("get-worker-ips", "demo").stdout.split()) == 2
    again = desk.rayhpc("up", "-y", str(desk.file))
    assert "is as its file says" in again.stderr
    assert "keep" in again.stdout
    status = json.loads(desk.rayhpc("status", "--json", "demo").stdout)
    assert [row["state"] for row in status["machines"]] == ["running"] * 3, status["machines"]
    assert desk.rayhpc("exec", "demo", "exit 7").returncode == 7
    down = desk.rayhpc("down", "-y", "demo")
    assert down.returncode == 0, down.stderr
    assert desk.left() == NOTHING


def test_a_pod_that_is_killed_costs_no_task(desk: Desk) -> None:
    assert desk.rayhpc("up", "-y", str(desk.file)).returncode == 0
    program = desk.begin("submit", "demo", desk.script(PATIENT))
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    role = "rayhpc.io/role=worker"
    names = desk.lab.kubectl("get", "pods", "-l", role, "-o", "name").split()
    desk.lab.kubectl("delete", names[0], "--grace-period=0", "--force")
    output, errors = program.communicate(timeout=100)
    assert (output, program.returncode) == ("done\n", 0), errors


def test_the_api_server_away_for_some_seconds(desk: Desk) -> None:
    desk.write(cluster_yaml(least=2, most=2))
    assert desk.rayhpc("up", "-y", str(desk.file)).returncode == 0
    program = desk.begin("exec", "demo", "sleep 600")
    desk.lab.stop("apiserver")
    refused = desk.rayhpc("status", "demo")
    assert refused.returncode == ExitCode.SCHEDULER
    assert "Connection refused" in refused.stderr
    desk.lab.start("apiserver")
    program.kill()
    program.communicate()
    done = desk.rayhpc("submit", "demo", desk.script(ADDRESSES))
    assert done.stdout.split()[:1] == ["3"], done.stderr


def test_what_does_not_fit_is_quoted(desk: Desk) -> None:
    desk.write(cluster_yaml(least=1, most=1, cpu="100"))
    assert desk.rayhpc("up", "-y", str(desk.file)).returncode == 0
    words = "0/3 nodes are available: 3 Insufficient cpu"
    desk.until(lambda: words in desk.rayhpc("explain", "demo").stdout)


def test_rights_that_are_missing_are_named(desk: Desk) -> None:
    rules = [("", "pods,secrets", "get,list,watch,create"), ("batch", "jobs", "get,list")]
    desk.kubeconfig = desk.lab.user("limited", rules)
    up = desk.rayhpc("up", "-y", str(desk.file))
    assert up.returncode == ExitCode.PERMISSION
    assert "you may not create jobs, patch jobs, delete jobs, get pods/log, create" in up.stderr
    desk.kubeconfig = desk.lab.kubeconfig
    assert desk.left() == NOTHING


def test_without_its_head_everything_ends(desk: Desk) -> None:
    desk.write(cluster_yaml(least=2, most=2))
    assert desk.rayhpc("up", "-y", str(desk.file)).returncode == 0
    done = desk.rayhpc("submit", "demo", desk.script(ADDRESSES))
    assert done.stdout.split()[:1] == ["3"], done.stderr
    role = "rayhpc.io/role=head"
    (pod,) = desk.lab.kubectl("get", "pods", "-l", role, "-o", "name").split()
    desk.lab.kubectl("delete", pod, "--grace-period=0", "--force")
    desk.until(lambda: not desk.lab.processes())
    refused = desk.rayhpc("exec", "demo", "true")
    assert refused.returncode == ExitCode.HEAD_LOST
    assert "its pod was deleted" in refused.stderr


def test_it_grows_with_its_work_and_shrinks(desk: Desk) -> None:
    desk.write(cluster_yaml(least=0, most=3, idle=0.05))
    assert desk.rayhpc("up", "-y", str(desk.file)).returncode == 0
    assert desk.left()["jobs"] == 1
    done = desk.rayhpc("submit", "demo", desk.script(BURST))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["most", "3", "least", "0"]


def test_an_image_that_does_not_exist(desk: Desk) -> None:
    desk.write(cluster_yaml(image="missing/image:1"))
    up = desk.rayhpc("up", "-y", str(desk.file))
    assert up.returncode == ExitCode.HEAD_LOST
    assert "the head cannot start: image missing/image:1: ImagePullBackOff" in up.stderr
