"""A queue that takes back what is its own from a job of another one, on the real YARN."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.yarn.applications import wait_until
from tests.yarn.labs import SLOW_ON, lab_of
from tests.yarn.programs import program, waiting_for
from tests.yarn.terminal import Terminal

_MONITOR = "yarn.resourcemanager.scheduler.monitor.enable"
_PREEMPTION = "yarn.resourcemanager.monitor.capacity.preemption"
_AT_ONCE = {
    "monitoring_interval": "500",
    "max_wait_before_kill": "500",
    "total_preemption_per_round": "1.0",
    "natural_termination_factor": "1.0",
}
_ROOT = "yarn.scheduler.capacity.root"
# `default` may take all that is free; `urgent` takes back its half.
_QUEUES = {
    f"{_ROOT}.queues": "default,urgent",
    f"{_ROOT}.default.capacity": "50",
    f"{_ROOT}.default.user-limit-factor": "10",
    f"{_ROOT}.urgent.capacity": "50",
    f"{_ROOT}.urgent.user-limit-factor": "10",
}


@pytest.mark.parametrize("version", SLOW_ON)
@pytest.mark.timeout(150)
def test_a_preempted_container_costs_no_restart(version: str, tmp_path: Path) -> None:
    site = {_MONITOR: "true", **{f"{_PREEMPTION}.{name}": _AT_ONCE[name] for name in _AT_ONCE}}
    go, started = tmp_path / "go", tmp_path / "go.started"
    with lab_of(version, nodes=3, yarn_site=site, capacity=_QUEUES) as lab:
        user = Terminal(lab.client_environment(), tmp_path / "home")
        user.write("long.py", program(3, before=waiting_for(go)))
        words = ["--nodes", "3", "--mem", "7G", "--yarn", "--restarts 0", "--", "python", "long.py"]
        follower = user.start("submit", *words)
        wait_until(started.exists, 60)
        (first,) = json.loads(user.run("jobs", "--json").stdout)
        user.write("short.py", "print('here')\n")
        done = user.run(
            *("submit", "--partition", "urgent", "--mem", "6G", "--", "python", "short.py")
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "here\n"
        why = "ended: preempted: the scheduler gave its capacity to another queue or user"
        wait_until(lambda: why in user.run("logs", first["id"]).stderr)
        go.touch()
        out, said = follower.communicate(timeout=60)
        assert follower.returncode == 0, said
        assert out == "found 3\n"
