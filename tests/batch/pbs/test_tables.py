"""PBS's variables and words, as its manuals have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.batch.detect import around, detect
from rayhpc.batch.job_status import State
from rayhpc.batch.pbs.facts import short_id
from rayhpc.batch.pbs.listing import _status, hosts, read_jobs
from rayhpc.batch.pbs.words import exit_code, refusal
from tests.batch.machine import machine

# OpenPBS: long values go on behind a tab.
RUNNING = """Job Id: 123.pbs01
    Job_Name = train
    Job_Owner = ada@login
    job_state = R
    queue = workq
    exec_host = node1/0*16+nod
\te2/0*16
    comment = Job run at Mon Apr 22 at 07:17 on (node1:ncpus=16)+(node2:ncpus=16)
\t
    stime = Sat Apr 20 01:36:59 2013

Job Id: 124[].pbs01
    job_state = Q
    comment = Can Never Run: Insufficient amount of resource: ncpus (R: 99 A: 8 T: 8)
"""
TORQUE = """Job Id: 7.head
    job_state = C
    exec_host = n1/0+n1/1+n2/0-1
    exit_status = 0
    Exit_status = 271
    start_time = Sat Apr 20 01:36:59 CEST 2013
"""


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("123.pbs01", "123"),
        ("123", "123"),
        ("123[].pbs01.example.org", "123"),
        ("123[4].pbs01", "123_4"),
        ("123-4.head", "123_4"),
    ],
)
def test_ids_are_short(name: str, short: str) -> None:
    assert short_id(name) == short


def test_a_job_script_and_its_ranks(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\nn2\n")
    job = {"PBS_JOBID": "12[3].pbs01", "PBS_NODEFILE": str(tmp_path / "nodes"), "NCPUS": "4"}
    assert around(job).name == "pbs"
    assert (around(job).job_id(job), around(job).array_task(job)) == ("12_3", "3")
    found = detect(job, machine("n1"))
    assert (found.launcher.value, found.nodes.value, found.cpus.value) == ("batch", ("n1", "n2"), 4)
    step = {"RAYHPC_STEP": "12[3].pbs01", "RAYHPC_RANK": "1", "RAYHPC_SIZE": "2"}
    found = detect({**job, **step, "RAYHPC_HOSTS": "n1:4 n2:4"}, machine("n2"))
    assert (found.launcher.value, found.rank.value, found.size.value) == ("pbsdsh", 1, 2)


def test_torque_names_a_host_for_each_processor(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\nn1\nn2\nn2\n")
    job = {"PBS_JOBID": "7.head", "PBS_NODEFILE": str(tmp_path / "nodes")}
    found = detect(job, machine("n2"))
    assert (found.nodes.value, found.cpus.value) == (("n1", "n2"), 2)


def test_how_long_it_waits_before_it_kills() -> None:
    job = {"PBS_JOBID": "7.head", "PBS_NODEFILE": "/none"}
    assert around(job).grace(job).value == 10
    assert around(job).grace({**job, "PBS_VERSION": "TORQUE-6.1.3"}).value == 2
    assert around(job).grace({**job, "RAYHPC_KILL_DELAY_S": "60"}).value == 60


def test_what_qstat_says() -> None:
    known = read_jobs(RUNNING)
    running = _status("123.pbs01", known["123.pbs01"])
    assert (running.id, running.state, running.nodes) == ("123", State.RUNNING, "node1,node2")
    assert running.start is not None
    never = _status("124[].pbs01", known["124[].pbs01"])
    assert (never.state, never.hopeless) == (State.PENDING, True)
    assert never.reason.startswith("insufficient amount of resource: ncpus")
    killed = _status("7.head", read_jobs(TORQUE)["7.head"])
    assert (killed.state, killed.exit_code, killed.nodes) == (State.FAILED, 143, "n1,n2")
    assert killed.start is not None


def test_hosts_and_exit_codes() -> None:
    assert hosts("n1/0-3+n2/0-3") == ["n1", "n2"]
    assert [exit_code(each) for each in (0, 7, 271, 265, -3)] == [0, 7, 143, 137, 1]


def test_refusals() -> None:
    assert "`qstat -Q` lists them" in refusal("qsub", "qsub: Unknown queue\n")
