"""A job that grows with its work, on the real YARN."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.yarn.applications import wait_until
from tests.yarn.labs import SLOW_ON, within
from tests.yarn.programs import BURST, waiting_for
from tests.yarn.terminal import Terminal
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers


@pytest.mark.parametrize("lab", SLOW_ON, indirect=True)
@within(120)
def test_a_burst_grows_from_one_node_to_three_and_back(lab: Lab, tmp_path: Path) -> None:
    user = Terminal(lab.client_environment(), tmp_path / "home")
    go = tmp_path / "go"
    user.write("burst.py", BURST + waiting_for(go))
    follower = user.start(
        *("submit", "--nodes", "1:3", "--idle-timeout", "1", "--", "python", "burst.py")
    )
    wait_until(lambda: "back\n" in user.shown("stdout"), 90)
    wait_until(lambda: len(containers(lab)) == 1)
    said = user.run("explain").stdout
    assert "the queue has 100% of the cluster and uses " in said
    go.touch()
    out, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert out == "worked on 3\nback\n"
    assert "asked for worker-1: " in said
    assert "was lost" not in said
    wait_until(lambda: not of_containers(lab.layout.run))


def containers(lab: Lab) -> set[str]:
    """The folders of all containers that have processes."""
    found = set()
    for process, command in of_containers(lab.layout.run):
        if "rayhpc.batch.yarn" in command:
            try:
                found.add(os.readlink(f"/proc/{process.pid}/cwd"))
            except OSError:
                continue  # it has just ended
    return found
