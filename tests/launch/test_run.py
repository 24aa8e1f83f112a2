"""`rayhpc run` as a launcher starts it: ranks that meet, a program, and every kind of end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from rayhpc.exit_codes import ExitCode
from rayhpc.launch import leftovers, sessions
from rayhpc.machine import processes, scratch
from tests.launch.processes import family, left_of, names_in
from tests.launch.ranks import Ranks, finished, nothing_left, python

SAY_AND_WAIT = "import sys, time; print('here', flush=True); time.sleep(120)"


def test_three_ranks_run_a_program_on_three_addresses(ranks: Ranks) -> None:
    script = (
        "import json, time, rayhpc\n"
        "rayhpc.init()\n"
        "@rayhpc.remote\n"
        "def where():\n"
        "    time.sleep(0.3)\n"
        "    return rayhpc.util.get_node_ip_address()\n"
        "found = set(rayhpc.get([where.remote() for _ in range(6)]))\n"
        "print(json.dumps(sorted(found)))\n"
        "raise SystemExit(5)\n"
    )
    head, *others = ranks.start_all(3, program=python(script))
    code, out, err = finished(head)
    assert code == 5, err
    assert json.loads(out) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert "ready, 3 nodes at 127.0.0.1:" in err
    assert "3 nodes, " in err.splitlines()[-1]
    assert "exit code 5" in err.splitlines()[-1]
    for other in others:
        assert finished(other) == (0, "", "")
    nothing_left(ranks, {})


def test_several_ranks_on_a_node_lend_it_what_they_have(ranks: Ranks) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two processors")
    script = (
        "import json, os, rayhpc\n"
        "rayhpc.init()\n"
        "@rayhpc.remote(num_gpus=2)\n"
        "def seen():\n"
        "    return [sorted(os.sched_getaffinity(0)), os.environ['CUDA_VISIBLE_DEVICES']]\n"
        "print(json.dumps([len(rayhpc.nodes()), rayhpc.get(seen.remote())]))\n"
    )
    head, *lenders = [
        ranks.start_as_step(
            rank,
            2,
            "--num-cpus=2",
            program=python(script),
            local=2,
            TEST_CPU=str(cpus[rank]),
            CUDA_VISIBLE_DEVICES=f"GPU-{rank}",
        )
        for rank in range(2)
    ]
    code, out, err = finished(head)
    assert code == 0, err
    assert json.loads(out) == [1, [cpus[:2], "GPU-0,GPU-1"]]
    assert [finished(each) for each in lenders] == [(0, "", "")]
    nothing_left(ranks, {})


def test_one_rank_needs_nobody(ranks: Ranks) -> None:
    head = ranks.start(0, 1, program=python("import os; print(os.environ['RAYHPC_ADDRESS'])"))
    code, out, _ = finished(head)
    assert code == 0
    assert out.startswith("127.0.0.1:")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_leaves_nothing_of_itself(ranks: Ranks, victim: int) -> None:
    started = ranks.start_all(2, program=python(SAY_AND_WAIT))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "here\n"
    known = family(started[victim].pid)
    started[victim].kill()
    assert left_of(known) == []
    if victim == 0:
        # Nobody is left whom the cluster is for.
        assert finished(started[1])[0] == ExitCode.HEAD_LOST
        assert names_in(ranks.base) == []


KILL_THE_HEAD = """
import os, psutil, signal
import rayhpc as ray
from rayhpc.launch import sessions
ray.init(log_to_driver=False)
node = psutil.Process(sessions.find("auto").pid)
(head,) = [x for x in node.children() if x.cmdline()[0].startswith("rayhpc head")]
os.kill(head.pid, signal.SIGKILL)
@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
class Actor:
    def seven(self):
        return 7
print(ray.get([Actor.remote().seven.remote() for _ in range(2)]), len(ray.nodes()))
"""


def test_a_program_goes_on_when_the_head_is_killed(ranks: Ranks) -> None:
    head, other = ranks.start_all(2, program=python(KILL_THE_HEAD))
    code, out, _ = finished(head)
    assert (code, out) == (0, "[7, 7] 2\n")
    assert finished(other)[0] == 0


def test_killing_everything_at_once_leaves_nothing_running(ranks: Ranks) -> None:
    started = ranks.start_all(2, program=python(SAY_AND_WAIT))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "here\n"
    known = ranks.family()
    for pid in known:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert left_of(known) == []
    # What may be left are directories of ours, which the next command removes; their locks go with
    # the last process, which may be one that was forked as its parent was killed.
    deadline = time.monotonic() + 60
    while names_in(ranks.base) and time.monotonic() < deadline:
        leftovers.sweep({scratch.VARIABLE: str(ranks.base.parent)})
    assert names_in(ranks.base) == []


def test_a_rank_whose_node_was_killed_ends_after_all_that_is_left(ranks: Ranks) -> None:
    """As it ends, slurmstepd kills the rest: nobody would remove the session's directory."""
    started = ranks.start_all(2, program=python(SAY_AND_WAIT))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "here\n"
    known = family(started[1].pid)
    (node,) = psutil.Process(started[1].pid).children()
    (server,) = node.children()
    own = next(
        path
        for path in ranks.base.iterdir()
        if (record := sessions.read_record(path)) is not None and record.pid == node.pid
    )
    node.kill()
    assert finished(started[1])[0] == ExitCode.NODE_LOST
    left = {pid for pid, since in known.items() if processes.is_same_process(pid, since)}
    assert left <= {server.pid}, (server, left_of({x: known[x] for x in left}, 0.0))
    assert not own.exists()
    # By closing its last descriptor it has said that it is done; the kernel still takes it down.
    assert left_of({server.pid: known[server.pid]}) == []


def test_a_batch_systems_term_reaches_the_program_once(ranks: Ranks) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('here', flush=True)\n"
        "time.sleep(120)\n"
    )
    started = [ranks.start_as_step(rank, 2, program=python(script)) for rank in range(2)]
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "here\n"
    known = ranks.family()
    # As slurmstepd does it: every process of the step, at once.
    for pid in known:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert finished(started[0])[0] == 9
    assert finished(started[1])[0] == 0
    nothing_left(ranks, known)


def test_a_terminals_interrupt_reaches_the_program_once(ranks: Ranks) -> None:
    script = (
        "import signal, time\n"
        "came = []\n"
        "signal.signal(signal.SIGINT, lambda *_: came.append(1))\n"
        "print('here', flush=True)\n"
        "while not came:\n"
        "    time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "raise SystemExit(len(came))\n"
    )
    terminal, its = os.openpty()
    head = ranks.start(0, 1, program=python(script), terminal=its)
    os.close(its)
    assert head.stdout is not None
    assert head.stdout.readline() == "here\n"
    os.write(terminal, b"\x03")
    assert finished(head)[0] == 1
    os.close(terminal)


def test_a_program_that_a_signal_ends(ranks: Ranks) -> None:
    head = ranks.start(0, 1, program=python(SAY_AND_WAIT))
    assert head.stdout is not None
    assert head.stdout.readline() == "here\n"
    known = ranks.family()
    head.send_signal(signal.SIGUSR1)
    code, _, err = finished(head)
    assert code == 128 + signal.SIGUSR1
    assert "ended by SIGUSR1" in err
    nothing_left(ranks, known)


def test_a_program_that_will_not_end_is_ended(ranks: Ranks) -> None:
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('here', flush=True)\n"
        "time.sleep(120)\n"
    )
    head = ranks.start(0, 1, "--drain", "0.3", program=python(script))
    assert head.stdout is not None
    assert head.stdout.readline() == "here\n"
    known = ranks.family()
    head.send_signal(signal.SIGTERM)
    code, _, err = finished(head)
    assert code == ExitCode.CANCELLED
    assert "--drain" in err
    nothing_left(ranks, known)


def test_the_head_nodes_death_ends_the_program(ranks: Ranks) -> None:
    head = ranks.start(0, 1, program=python(SAY_AND_WAIT))
    assert head.stdout is not None
    assert head.stdout.readline() == "here\n"
    (record,) = sessions.living({scratch.VARIABLE: str(ranks.base.parent)})
    os.kill(record.pid, signal.SIGKILL)
    assert head.stderr is not None
    while "the head's node has ended" not in (line := head.stderr.readline()):
        assert line
    head.send_signal(signal.SIGTERM)
    assert finished(head)[0] == ExitCode.NODE_LOST


def test_a_lost_node_is_reported_although_the_program_succeeds(ranks: Ranks) -> None:
    started = ranks.start_all(2, program=python(SAY_AND_WAIT))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "here\n"
    (other,) = [
        each
        for each in sessions.living({scratch.VARIABLE: str(ranks.base.parent)})
        if not each.is_head
    ]
    os.kill(other.pid, signal.SIGKILL)
    code, _, err = finished(started[1])
    assert code not in (0, None)
    assert "has ended" in err


def test_logs_reach_the_jobs_folder(ranks: Ranks, tmp_path: Path) -> None:
    environ = {"RAYHPC_JOB_DIR": str(tmp_path)}
    head = ranks.start(0, 1, program=python("print('ran')"), **environ)
    assert finished(head)[0] == 0
    assert any(name.startswith("00000-") for name in names_in(tmp_path / "nodes"))


def test_a_cluster_without_a_program_serves_until_it_is_told_to_end(ranks: Ranks) -> None:
    head = ranks.start(0, 1, program=[])
    assert head.stderr is not None
    while "attach with" not in (line := head.stderr.readline()):
        assert line
    known = ranks.family()
    head.send_signal(signal.SIGINT)
    assert finished(head)[0] == 0
    nothing_left(ranks, known)
