"""A lab ends with the tests that use it, also if these are killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tests.sge.lab_cluster
import tests.slurm.lab_cluster
from tests.lab_keeper import ROOT
from yarn.lab import jars
from yarn.lab.processes import Process

_WAIT = "print(folder, flush=True); input()"
_STARTS = {
    "slurm": "from tests.slurm.lab_cluster import LabCluster\n"
    "folder = LabCluster(1, SLURMLAB_PREFIX='kept').base\n",
    "sge": "from tests.sge.lab_cluster import SgeCluster\nfolder = SgeCluster(1).base\n",
    "yarn": "from tests.yarn.labs import DEFAULT_VERSION, lab_of\n"
    "kept = lab_of(DEFAULT_VERSION, nodes=1)\nfolder = kept.__enter__().layout.run.parent\n",
}
_WHY_NOT = {
    "slurm": tests.slurm.lab_cluster.why_not,
    "sge": tests.sge.lab_cluster.why_not,
    "yarn": lambda: jars.why_not(jars.DEFAULT_VERSION),
}


def processes_of(folder: Path) -> list[Process]:
    """The daemons, and the processes that stand for hosts."""
    noted = [path.read_text().split() for path in folder.rglob("*.pid")]
    states = [json.loads(path.read_text())["processes"] for path in folder.rglob("state.json")]
    noted += [each for state in states for each in state.values()]
    # Files of one word are the daemons' own, with pids of another namespace.
    return [Process(int(each[0]), int(each[1])) for each in noted if len(each) == 2]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", _STARTS)
def test_a_lab_ends_with_tests_that_are_killed(kind: str) -> None:
    reason = _WHY_NOT[kind]()
    if reason:
        pytest.skip(reason)
    started = subprocess.Popen(
        [sys.executable, "-c", _STARTS[kind] + _WAIT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        assert started.stdout is not None
        folder = Path(started.stdout.readline().strip())
        assert folder.is_absolute(), "it did not come up"
        processes = processes_of(folder)
        assert len(processes) >= 2
        assert all(process.alive for process in processes)
        started.kill()
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline, "it is still up"
        time.sleep(0.05)
    assert not [process for process in processes if process.alive]
