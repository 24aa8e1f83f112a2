"""What befalls nodes and containers of the real YARN: labels, memory, logs, a sick node,
a queue that takes back what is its own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.yarn.applications import wait_until
from tests.yarn.labs import SLOW_ON, lab_of, within
from tests.yarn.programs import RESIZE, program, waiting_for
from tests.yarn.terminal import Terminal
from yarn.lab import jars
from yarn.lab.daemons import JAVA_OPTIONS
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers

pytestmark = within(120)

ROOT = Path(__file__).parents[2]
_ROOT = "yarn.scheduler.capacity.root"
# `default` may take all that is free; `urgent` takes back its half.
_QUEUES = {
    f"{_ROOT}.queues": "default,urgent",
    f"{_ROOT}.default.capacity": "50",
    f"{_ROOT}.default.user-limit-factor": "10",
    f"{_ROOT}.urgent.capacity": "50",
    f"{_ROOT}.urgent.user-limit-factor": "10",
}
_PREEMPTION = "yarn.resourcemanager.monitor.capacity.preemption"
_AT_ONCE = {
    "yarn.resourcemanager.scheduler.monitor.enable": "true",
    f"{_PREEMPTION}.monitoring_interval": "500",
    f"{_PREEMPTION}.max_wait_before_kill": "500",
    f"{_PREEMPTION}.total_preemption_per_round": "1.0",
    f"{_PREEMPTION}.natural_termination_factor": "1.0",
}
_HEALTH = "yarn.nodemanager.health-checker"
_SCRIPT = """#!/bin/sh
[ -e "$0.$1" ] && echo "ERROR the test says so"
exit 0
"""
_TAKES = {
    "physical": "data = b'x' * (900 << 20)",
    # Of the addresses that it takes nothing is used: 0x4022 is private, anonymous, no reserve.
    "virtual": "import mmap; data = mmap.mmap(-1, 200 << 30, flags=0x4022)",
}
GREEDY = """
import subprocess, sys
from rayhpc.util.scheduling_strategies import NodeAffinitySchedulingStrategy

mine = rayhpc.get_runtime_context().get_node_id()
other = next(n["NodeID"] for n in rayhpc.nodes() if n["Alive"] and n["NodeID"] != mine)

@rayhpc.remote(max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(other, soft=False))
def greedy():
    subprocess.run([sys.executable, "-c", "TAKES; import time; time.sleep(60)"])

try:
    rayhpc.get(greedy.remote())
except Exception as error:
    print(type(error).__name__, flush=True)
while len({n["NodeID"] for n in rayhpc.nodes() if n["Alive"]} - {other}) < 2:
    time.sleep(0.05)
"""


@pytest.fixture(scope="module", params=SLOW_ON)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two of five nodes are labelled; memory is checked; a script says how a node is; one queue is
    more urgent than the other.
    """
    script = tmp_path_factory.mktemp("health") / "check.sh"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    site = {
        "yarn.node-labels.enabled": "true",
        "yarn.node-labels.fs-store.root-dir": "file://${hadoop.tmp.dir}/labels",
        # Else YARN leaves the check to control groups, which are not used here.
        "yarn.nodemanager.resource.memory.enforced": "false",
        "yarn.nodemanager.container-monitor.interval-ms": "500",
        # What a sound job reserves is far below that.
        "yarn.nodemanager.vmem-check-enabled": "true",
        "yarn.nodemanager.vmem-pmem-ratio": "300",
        f"{_HEALTH}.interval-ms": "500",
        "yarn.log-aggregation-enable": "true",
        "yarn.nodemanager.remote-app-log-dir": "${hadoop.tmp.dir}/collected",
        f"{_HEALTH}.script.path": str(script),
        f"{_HEALTH}.script.opts": "${yarn.nodemanager.hostname}",
        **_AT_ONCE,
    }
    capacity = dict(_QUEUES)
    for queue in (_ROOT, f"{_ROOT}.default"):
        capacity[f"{queue}.accessible-node-labels"] = "*"
        capacity[f"{queue}.accessible-node-labels.big.capacity"] = "100"
    with lab_of(request.param, nodes=5, yarn_site=site, capacity=capacity) as found:
        _administer(found, "-addToClusterNodeLabels", "big(exclusive=true)")
        labelled = " ".join(f"{found.layout.address(name)}=big" for name in ("nm1", "nm2"))
        _administer(found, "-replaceLabelsOnNode", labelled)
        yield found


def _administer(lab: Lab, *words: str) -> None:
    java = jars.java()
    assert java is not None
    options = lab.layout.options
    classes = f"{lab.layout.configuration('client')}:{jars.fetch(options.hadoop)}/*"
    shell = "org.apache.hadoop.yarn.client.cli.RMAdminCLI"
    command = [java, *JAVA_OPTIONS, "-cp", classes, shell, *words]
    subprocess.run(lab.client_command(command), check=True, capture_output=True)


@pytest.fixture
def user(lab: Lab, tmp_path: Path) -> Terminal:
    return Terminal(lab.client_environment(), tmp_path / "home")


@within(180)
def test_a_label_chooses_the_nodes(lab: Lab, user: Terminal) -> None:
    look = "print(os.environ['NM_HOST'])"
    user.write("train.py", program(2, after=look))
    done = user.run("submit", "--nodes", "2", "--constraint", "big", "--", "python", "train.py")
    assert done.returncode == 0, done.stderr
    assert "found 2" in done.stdout
    labelled = {lab.layout.address(name) for name in ("nm1", "nm2")}
    assert done.stdout.split()[-1] in labelled
    template = ROOT / "yarn" / "label.yaml"
    done = user.run("submit", "--template", str(template), "--", "python", "train.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] in labelled
    done = user.run("submit", "--constraint", "small", "--", "python", "train.py")
    assert done.returncode == 78
    assert "--constraint small: no node label of this cluster's; there are big" in done.stderr


@pytest.mark.parametrize("kind", _TAKES)
def test_a_container_that_takes_too_much_memory_is_named(
    lab: Lab, user: Terminal, kind: str
) -> None:
    user.write("train.py", program(2, after=GREEDY.replace("TAKES", _TAKES[kind])))
    words = ["--nodes", "2", "--mem", "512M", "--", "python", "train.py"]
    done = user.run("submit", *words)
    assert done.returncode == 0, done.stderr
    more = "more virtual memory" if kind == "virtual" else "more memory"
    assert f"killed by the NodeManager: {more} than it was given (" in done.stderr
    assert f"{kind} memory used" in done.stderr  # YARN's numbers
    assert "it is replaced (2 more may fail)" in done.stderr
    wait_until(lambda: not of_containers(lab.layout.run))


def test_a_job_of_one_node_grows_and_shrinks(lab: Lab, user: Terminal, tmp_path: Path) -> None:
    go = tmp_path / "go"
    user.write("train.py", program(1, after=RESIZE + waiting_for(go)))
    follower = user.start("submit", "--mem", "512M", "--", "python", "train.py")
    wait_until((tmp_path / "go.started").exists, 90)
    wait_until(lambda: len(hosts_of(lab)) == 1)
    go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert out == "found 1\nworked on 3\nshrunk\n"


def hosts_of(lab: Lab) -> set[str]:
    """The hosts on which containers have processes."""
    names = lab.layout.node_managers
    addresses = [lab.layout.address(name) for name in names]
    return {each for each in addresses if of_containers(lab.layout.run, each)}


def test_output_is_there_when_yarn_has_collected_it(lab: Lab, user: Terminal) -> None:
    user.write("train.py", "print('x' * 300_000)\nraise SystemExit(3)\n")
    done = user.run("submit", "--detach", "--json", "--", "python", "train.py")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)["id"]

    def is_collected() -> bool:
        kept = list(lab.layout.run.glob(f"nm*/logs/{job}/*/std*"))
        return not kept and any((lab.layout.run / "tmp" / "collected").rglob(f"{job}/*_45454"))

    wait_until(is_collected, 60)
    done = user.run("logs")
    assert done.stdout == "x" * 300_000 + "\n"
    assert user.run("wait").returncode == 3


def test_an_unhealthy_node_is_left_for_another(lab: Lab, user: Terminal, tmp_path: Path) -> None:
    go, started = tmp_path / "go", tmp_path / "go.started"
    before = "print('head on', os.environ['NM_HOST'], flush=True)\n"
    hosts = f"{tmp_path}/hosts"
    note = """
@rayhpc.remote(num_cpus=1, scheduling_strategy="SPREAD", max_retries=5)
def host():
    time.sleep(0.1)
    return os.environ["NM_HOST"]

seen = set()
while len(seen) < 2:
    seen |= set(rayhpc.get([host.remote() for _ in range(4)]))
"""
    write = f"open({hosts!r}, 'w').write(' '.join(seen - {{os.environ['NM_HOST']}}))\n"
    user.write("long.py", program(2, before=before + note + write + waiting_for(go)))
    follower = user.start("submit", "--nodes", "2", "--", "python", "long.py")
    wait_until(started.exists, 60)
    sick = Path(hosts).read_text()
    script = lab.layout.options.yarn_site[f"{_HEALTH}.script.path"]
    mark = Path(f"{script}.{sick}")
    mark.touch()
    try:
        wait_until(lambda: "its node was lost" in user.shown("stderr"), 60)
        go.touch()
        out, said = follower.communicate(timeout=60)
    finally:
        mark.unlink()
    assert follower.returncode == 0, said
    assert out.endswith("found 2\n")


@within(150)
def test_a_preempted_container_costs_no_restart(user: Terminal, tmp_path: Path) -> None:
    """The three nodes without a label are full, until a job of the other queue comes."""
    go, started = tmp_path / "go", tmp_path / "go.started"
    user.write("long.py", program(3, before=waiting_for(go)))
    words = ["--nodes", "3", "--mem", "7G", "--yarn", "--restarts 0", "--", "python", "long.py"]
    follower = user.start("submit", *words)
    wait_until(started.exists, 60)
    user.write("short.py", "print('here')\n")
    done = user.run("submit", "--partition", "urgent", "--mem", "6G", "--", "python", "short.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "here\n"
    why = "ended: preempted: the scheduler gave its capacity to another queue or user"
    wait_until(lambda: why in user.shown("stderr"))
    go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert out == "found 3\n"
