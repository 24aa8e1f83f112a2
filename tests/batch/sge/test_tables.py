"""Grid Engine's variables and words, as a real 8.1.9 has said them; no Grid Engine is needed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rayhpc.allocation.allocation import Allocation
from rayhpc.batch.detect import around, detect
from rayhpc.batch.errors import OptionError
from rayhpc.batch.job_status import State
from rayhpc.batch.request import JobRequest
from rayhpc.batch.sge.listing import _of_end, read_accounts, read_queue
from rayhpc.batch.sge.parallel import Environment, choose
from rayhpc.batch.sge.words import refusal, state_of
from rayhpc.batch.templates import shipped
from tests.batch.machine import machine

JOB = {
    "ENVIRONMENT": "BATCH",
    "JOB_ID": "14",
    "SGE_TASK_ID": "undefined",
    "RESTARTED": "0",
    "NSLOTS": "8",
    "NHOSTS": "2",
    "SGE_O_WORKDIR": "/home/ada",
    "HOSTNAME": "host2",
}
QUEUE = """<?xml version='1.0'?>
<job_info xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>9</JB_job_number>
      <JB_owner>sgeuser</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-29T15:28:50</JAT_start_time>
      <queue_name>all.q@host2</queue_name>
      <slots>4</slots>
      <tasks>1</tasks>
    </job_list>
    <job_list state="running">
      <JB_job_number>12</JB_job_number>
      <state>dr</state>
      <queue_name>all.q@host1</queue_name>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>9</JB_job_number>
      <state>qw</state>
      <queue_name></queue_name>
      <tasks>2</tasks>
    </job_list>
    <job_list state="pending">
      <JB_job_number>11</JB_job_number>
      <state>Eqw</state>
      <queue_name></queue_name>
    </job_list>
  </job_info>
</job_info>
"""
ACCOUNT = """==============================================================
qname        all.q
hostname     host1
taskid       undefined
start_time   Sun Nov 29 15:50:41 2026
failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit
exit_status  143                  (Terminated)
==============================================================
hostname     host2
failed       0
exit_status  0
"""


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job's script on two hosts."""
    (tmp_path / "pe").write_text("host2 4 all.q@host2 UNDEFINED\nhost1 4 all.q@host1 UNDEFINED\n")
    return {**JOB, "PE_HOSTFILE": str(tmp_path / "pe")}


def shown(found: Allocation) -> tuple[object, ...]:
    return found.launcher.value, found.rank.value, found.size.value, found.nodes.value


def test_a_job_script_has_an_allocation_to_start_a_step_on(job: dict[str, str]) -> None:
    assert around(job).name == "sge"
    found = detect(job, machine("host2.example.org"))
    assert shown(found) == ("batch", 0, 1, ("host2", "host1"))
    assert (found.cpus.value, found.num_nodes.value, found.job_id.value) == (4, 2, "14")
    command = around(job).step_command(job, ["rayhpc", "run"], 1)
    assert command is not None
    assert command[:2] == ["env", "RAYHPC_STEP_NODES=1"]


def test_a_rank_has_its_place_from_the_step(job: dict[str, str]) -> None:
    step = {"RAYHPC_STEP": "14.undefined", "RAYHPC_RANK": "1", "RAYHPC_SIZE": "2"}
    rank = {**job, **step, "RAYHPC_HOSTS": "host2:4 host1:3 "}
    found = detect(rank, machine("host1"))
    assert shown(found) == ("qrsh", 1, 2, ("host2", "host1"))
    assert found.cpus.value == 3
    assert around(rank).step_command(rank, ["rayhpc"]) is None
    # `qsub -V` inside that rank: the variables are of another job.
    assert shown(detect({**rank, "JOB_ID": "15"}, machine("host2")))[0] == "batch"


def test_a_terminal_on_one_host_is_left_to_the_program(job: dict[str, str]) -> None:
    terminal = {**job, "JOB_SCRIPT": "QRSH", "NHOSTS": "1"}
    assert around(terminal).step_command(terminal, ["rayhpc"]) is None
    assert around(terminal).step_command({**terminal, "NHOSTS": "2"}, ["rayhpc"]) is not None


def test_tasks_of_arrays_are_named_as_for_all_batch_systems(job: dict[str, str]) -> None:
    task = {**job, "SGE_TASK_ID": "3"}
    assert around(task).job_id(task) == "14_3"
    assert around(task).array_task(task) == "3"


def test_how_long_it_waits_before_it_kills(job: dict[str, str]) -> None:
    assert around(job).grace(job).value is None
    assert around(job).grace({**job, "RAYHPC_NOTIFY_S": "60"}).value == 60


def test_what_qstat_says() -> None:
    found = read_queue(QUEUE)
    assert found["9"].state is State.PENDING
    assert (found["9_1"].state, found["9_1"].nodes) == (State.RUNNING, "host2")
    assert found["12"].closing
    assert found["11"].hopeless
    assert "could not start it" in found["11"].reason
    with pytest.raises(Exception, match="it printed 'error: commlib'"):
        read_queue("error: commlib")


@pytest.mark.parametrize(
    ("letters", "state"),
    [("qw", State.PENDING), ("hqw", State.PENDING), ("hRwq", State.PENDING), ("r", State.RUNNING)],
)
def test_states(letters: str, state: State) -> None:
    assert state_of(letters)[0] is state


def test_what_qacct_says() -> None:
    status = _of_end("1", list(read_accounts(ACCOUNT)))
    assert (status.state, status.exit_code, status.nodes) == (State.FAILED, 143, "host1")
    assert status.reason == "qmaster enforced h_rt, h_cpu, or h_vmem limit"


def test_refusals() -> None:
    said = (
        'Unable to run job: Job 3 cannot run in PE "hosts" because it only offers 8 slots\n'
        "verification: no suitable queues\nExiting.\n"
    )
    first, remedy = refusal("qsub", said).splitlines()
    assert first == 'qsub: Job 3 cannot run in PE "hosts" because it only offers 8 slots'
    assert "fewer --nodes" in remedy


THERE = [
    Environment("smp", "$pe_slots"),
    Environment("eight", "8"),
    Environment("two", "2"),
    Environment("turns", "$round_robin"),
]


@pytest.mark.parametrize(
    ("nodes", "cpus", "wanted"),
    [
        (4, None, ("eight", 32, 8, True)),
        (4, 2, ("two", 8, 2, True)),
        (4, 3, ("turns", 12, 3, False)),
        (1, 5, ("smp", 5, 5, True)),
        (1, None, ("smp", 1, 1, True)),
    ],
)
def test_the_parallel_environment(
    nodes: int, cpus: int | None, wanted: tuple[str, int, int, bool]
) -> None:
    found = choose(JobRequest(("x",), nodes=nodes, cpus_per_node=cpus), THERE)
    assert (found.name, found.total, found.each, found.exact) == wanted


def test_none_that_fits_is_told() -> None:
    with pytest.raises(OptionError, match=r"there are smp \(\$pe_slots\)"):
        choose(JobRequest(("x",), nodes=2), THERE[:1])
    assert choose(JobRequest(("x",)), []).name == ""


def test_the_step_starts_a_rank_on_each_host(job: dict[str, str], tmp_path: Path) -> None:
    """The shell's part, with a qrsh that stays here."""
    qrsh = tmp_path / "qrsh"
    qrsh.write_text(
        '#!/bin/bash\n[ "$1 $2 $3" = "-inherit -nostdin -V" ] || exit 9\n'
        'export HOSTNAME=$4; exec /bin/sh -c "$5"\n'
    )
    qrsh.chmod(0o755)
    # Not the shell's own echo, which writes line by line: the ranks share a pipe.
    show = (
        '/bin/echo "$RAYHPC_RANK of $RAYHPC_SIZE on $HOSTNAME: $1 ($(trap -p USR2)) '
        '$RAYHPC_HOSTS"; '
        "exit $((3 + RAYHPC_RANK))"
    )
    steps = [str(shipped() / folder / "step.sh") for folder in ("common", "sge")]
    done = subprocess.run(
        [
            *("bash", "-c", '. "$1"; . "$2"; shift 2; step "$@"', "_", *steps),
            *("bash", "-c", show, "_", "it's $HOME\nand more"),
        ],
        env={**job, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    words = "it's $HOME\nand more (trap -- '' SIGUSR2) host2:4 host1:4 \n"
    expected = {f"0 of 2 on host2: {words}", f"1 of 2 on host1: {words}"}
    assert done.stdout in ("".join(sorted(expected)), "".join(sorted(expected, reverse=True)))
