"""`rayhpc run` as a launcher starts it: ranks that meet, a program, and every kind of end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rayhpc.exit_codes import ExitCode
from rayhpc.launch import leftovers, sessions
from rayhpc.machine import processes, scratch
from tests.launch.processes import Known, family, left_of, names_in, until

SAY_AND_WAIT = "import sys, time; print('here', flush=True); time.sleep(120)"


class Ranks:
    """Ranks of one start, each as its own process on its own loopback address."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.meeting = folder / "meet"
        self.base = scratch.session_base(environ)
        self._environ = {**os.environ, **environ, "XDG_CONFIG_HOME": str(folder / "config")}
        self._environ.pop("RAYHPC_ADDRESS", None)
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self,
        rank: int,
        size: int,
        *words: str,
        program: list[str],
        terminal: int | None = None,
        **environ: str,
    ) -> subprocess.Popen[str]:
        place = ["--rank", str(rank), "--size", str(size)]
        return self._start(rank, [*place, *words], program, environ, terminal)

    def start_as_step(
        self, rank: int, size: int, *words: str, program: list[str], local: int = 1, **more: str
    ) -> subprocess.Popen[str]:
        """As srun does, `local` tasks a node: we are the parent that signals."""
        node = rank // local
        environ = {
            "SLURM_JOB_ID": "7",
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": str(rank),
            "SLURM_NODEID": str(node),
            "SLURM_LOCALID": str(rank % local),
            "SLURM_STEP_NUM_TASKS": str(size),
            "SLURM_STEP_NUM_NODES": str(size // local),
            "SLURM_STEP_TASKS_PER_NODE": f"{local}(x{size // local})",
            "SLURM_STEP_NODELIST": f"n[0-{size // local - 1}]",
            "SLURMD_NODENAME": f"n{node}",
        }
        return self._start(node, list(words), program, {**environ, **more}, None)

    def _start(
        self,
        rank: int,
        words: list[str],
        program: list[str],
        environ: dict[str, str],
        terminal: int | None,
    ) -> subprocess.Popen[str]:
        meet = ["--rendezvous", str(self.meeting), "--node-ip-address", f"127.0.0.{rank + 1}"]
        command = [sys.executable, "-m", "rayhpc.cli.main", "run", *meet]
        if not any(word.startswith("--num-cpus") for word in words):
            words = [*words, "--num-cpus", "1"]

        def take_terminal() -> None:
            if terminal is not None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if "TEST_CPU" in environ:
                os.sched_setaffinity(0, {int(environ["TEST_CPU"])})

        process = subprocess.Popen(
            [*command, *words, "--", *program],
            env={**self._environ, **environ},
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=terminal is not None,
            preexec_fn=take_terminal,  # noqa: PLW1509
        )
        self.started.append(process)
        return process

    def start_all(self, size: int, *words: str, program: list[str]) -> list[subprocess.Popen[str]]:
        return [self.start(rank, size, *words, program=program) for rank in range(size)]

    def family(self) -> Known:
        known: Known = {}
        for process in self.started:
            known.update(family(process.pid))
        return known


@pytest.fixture
def ranks(short_tmp: Path, environ: dict[str, str]) -> Iterator[Ranks]:
    made = Ranks(short_tmp, environ)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str], within_s: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=within_s)
    return process.returncode, out, err


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def nothing_left(ranks: Ranks, known: Known) -> None:
    assert left_of(known) == []
    assert names_in(ranks.base) == []
    assert names_in(ranks.meeting) == []


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
    deadline = time.monotonic() + 10
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


def test_a_signal_while_ranks_are_missing_gives_up(ranks: Ranks) -> None:
    head = ranks.start(0, 2, program=["true"])
    until(lambda: names_in(ranks.meeting) != [])
    known = ranks.family()
    head.send_signal(signal.SIGTERM)
    code, _, err = finished(head)
    assert code == ExitCode.CANCELLED
    assert "SIGTERM" in err
    assert left_of(known) == []
    assert names_in(ranks.base) == []


def test_too_few_nodes_in_time_says_who_is_missing(ranks: Ranks) -> None:
    head = ranks.start(0, 3, "--start-timeout", "2", program=["true"])
    other = ranks.start(1, 3, program=["true"])
    code, _, err = finished(head)
    assert code == ExitCode.TOO_FEW_NODES
    assert "2 of 3 nodes joined" in err
    assert "node 2: no word from it" in err
    assert finished(other)[0] == 0


def test_min_nodes_is_enough(ranks: Ranks) -> None:
    head = ranks.start(0, 3, "--min-nodes", "2", program=python("print('ran')"))
    other = ranks.start(1, 3, program=["true"])
    code, out, err = finished(head)
    assert (code, out) == (0, "ran\n")
    assert "2 of 3 nodes" in err
    assert finished(other)[0] == 0


def test_a_rank_that_cannot_start_ends_the_wait_at_once(ranks: Ranks) -> None:
    began = time.monotonic()
    head = ranks.start(0, 2, program=["true"])
    other = ranks.start(1, 2, "--object-store-memory", "800T", program=["true"])
    code, _, err = finished(head)
    assert code == ExitCode.TOO_FEW_NODES
    assert "does not fit" in err
    code, _, err = finished(other)
    assert code == ExitCode.CONFIGURATION
    assert "does not fit" in err
    assert time.monotonic() - began < 60


def test_a_head_that_cannot_start_tells_the_others(ranks: Ranks) -> None:
    other = ranks.start(1, 2, program=["true"])
    head = ranks.start(0, 2, "--object-store-memory", "800T", program=["true"])
    assert finished(head)[0] == ExitCode.CONFIGURATION
    code, _, err = finished(other)
    assert code == ExitCode.CONFIGURATION
    assert "rank 0" in err
    assert "does not fit" in err


def test_no_rank_waits_for_rank_0_if_that_was_killed(ranks: Ranks) -> None:
    """Before it has written anything, or before all have read it."""
    other = ranks.start_as_step(1, 3, program=["true"])
    head = ranks.start_as_step(0, 3, program=["true"])
    until(lambda: ranks.meeting.exists() or head.poll() is not None)
    os.kill(head.pid, signal.SIGKILL)
    late = ranks.start_as_step(2, 3, program=["true"])
    for process in (other, late):
        code, _, err = finished(process)
        assert code == ExitCode.HEAD_LOST
        assert "was killed before all nodes had joined" in err


def test_no_rank_waits_where_rank_0_cannot_say_that_it_failed(ranks: Ranks) -> None:
    place = "/not/there/meeting"
    ranks.meeting = Path(place)
    others = [ranks.start(rank, 3, program=["true"]) for rank in (1, 2)]
    head = ranks.start(0, 3, program=["true"])
    assert finished(head)[0] == ExitCode.RENDEZVOUS
    ended = time.monotonic()
    for other in others:
        code, _, err = finished(other)
        assert code == ExitCode.RENDEZVOUS
        assert place in err
        assert "--rendezvous" in err
    # Not the 120 s of --start-timeout; how long an interpreter takes here is not our concern.
    assert time.monotonic() - ended < 20


def test_a_head_whose_node_has_a_rank_that_cannot_start_tells_the_others(ranks: Ranks) -> None:
    """Two ranks of its node see their GPUs by different variables; there is no head yet."""
    first = ranks.start_as_step(0, 4, local=2, program=["true"], CUDA_VISIBLE_DEVICES="0")
    second = ranks.start_as_step(1, 4, local=2, program=["true"], ROCR_VISIBLE_DEVICES="0")
    others = [ranks.start_as_step(rank, 4, local=2, program=["true"]) for rank in (2, 3)]
    for process in (first, second, *others):
        code, _, err = finished(process)
        assert code == ExitCode.CONFIGURATION, err


def test_a_program_that_is_not_there(ranks: Ranks) -> None:
    head = ranks.start(0, 1, program=["pithon"])
    code, _, err = finished(head)
    assert code == ExitCode.CONFIGURATION
    assert "pithon" in err
    assert names_in(ranks.base) == []


def _told(record: Path) -> str:
    """What is in a file that others remove and write anew."""
    try:
        return record.read_text()
    except FileNotFoundError:
        return ""


def test_a_stale_record_of_a_head_that_is_gone(ranks: Ranks) -> None:
    """The record of an earlier start that had no time to remove it."""
    first = ranks.start(0, 2, program=["true"])
    record = ranks.meeting / "local.0.0.key"
    until(record.exists)
    stale = record.read_bytes()
    known = family(first.pid)
    first.kill()
    first.wait()
    # While it ends, the head may still take a node, which then ends with it.
    assert not left_of(known)
    until(lambda: "was killed" in _told(record))
    record.write_bytes(stale)
    record.chmod(0o600)

    other = ranks.start(1, 2, program=["true"])
    until(lambda: len(family(other.pid)) > 1)
    head = ranks.start(0, 2, program=python("print('ran')"))
    code, out, err = finished(head)
    assert (code, out) == (0, "ran\n"), err
    assert finished(other)[0] == 0


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
