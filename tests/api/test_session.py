"""Joining and leaving: each test is a program of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_first_call_starts_a_cluster(run_program: Run) -> None:
    done = run_program(
        """
        import rayhpc
        assert not rayhpc.is_initialized()
        @rayhpc.remote
        def f(x):
            return x + 1
        print(rayhpc.get(f.remote(1)), rayhpc.is_initialized())
        """
    )
    assert done.stdout.split() == ["2", "True"]


def test_threads_that_need_a_cluster_at_once_share_it(run_program: Run) -> None:
    run_program(
        """
        import concurrent.futures, rayhpc
        @rayhpc.remote
        def f(x):
            return x
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda x: rayhpc.get(f.remote(x)), range(8)))
        assert found == list(range(8))
        assert len(rayhpc.nodes()) == 1
        """
    )


def test_a_second_init_is_an_error_unless_it_is_to_be_ignored(run_program: Run) -> None:
    run_program(
        """
        import rayhpc, pytest
        first = rayhpc.init(num_cpus=1)
        with pytest.raises(RuntimeError, match="ignore_reinit_error=True"):
            rayhpc.init()
        assert rayhpc.init(ignore_reinit_error=True) is first
        rayhpc.shutdown()
        assert not rayhpc.is_initialized()
        rayhpc.shutdown()
        rayhpc.init(num_cpus=2)
        assert rayhpc.cluster_resources()["CPU"] == 2
        """
    )


def test_the_context(run_program: Run) -> None:
    run_program(
        """
        import os, rayhpc
        with rayhpc.init(num_cpus=1, include_dashboard=False) as context:
            assert context.dashboard_url == ""
            assert context["node_id"] == rayhpc.nodes()[0]["NodeID"]
            assert context.address_info["address"] == context["gcs_address"]
            assert os.path.isdir(context["session_dir"])
            assert "session_dir" in dict(context)
            assert len(context) == len(list(context))
            assert rayhpc.is_initialized()
        assert not rayhpc.is_initialized()
        assert not os.path.exists(context["session_dir"])
        rayhpc.init(num_cpus=1).disconnect()
        assert not rayhpc.is_initialized()
        """
    )


def test_arguments_of_ray_s_own_processes_are_taken(run_program: Run) -> None:
    run_program(
        """
        import rayhpc
        rayhpc.init(
            num_cpus=1, include_dashboard=False, dashboard_host="0.0.0.0", _redis_password="x",
            _memory=200 * 2**20, _metrics_export_port=8080, _temp_dir="/tmp", local_mode=False,
            _system_config={"a": 1}, configure_logging=True, logging_level="warning",
        )
        assert rayhpc.cluster_resources()["memory"] == 200 * 2**20
        """
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("num_cpu=1", "RuntimeError", "Did you mean 'num_cpus'"),
        ("num_cpus=-1", "ValueError", "num_cpus"),
        ("num_cpus='4'", "TypeError", "num_cpus"),
        ("resources={'CPU': 2}", "ValueError", "num_cpus"),
        ("object_store_memory=10", "ValueError", "object-store-memory"),
        ("labels={'a': 1}", "TypeError", "labels"),
        ("namespace=''", "ValueError", "namespace"),
        ("runtime_env={'pip': ['x']}", "NotServedError", "pip"),
        ("runtime_env={'working_dir': '/not/there'}", "ValueError", "/not/there"),
        ("'ray://somewhere:10001'", "NotServedError", "ray://somewhere"),
        ("'10.255.255.1:6379'", "ConnectionError", "10.255.255.1"),
        ("'nonsense'", "ConnectionError", "nonsense"),
        ("'/not/a/session'", "ConnectionError", "/not/a/session"),
    ],
)
def test_what_init_refuses(run_program: Run, call: str, error: str, words: str) -> None:
    done = run_program(
        f"""
        import rayhpc, pytest
        from rayhpc.exceptions import NotServedError
        with pytest.raises({error}, match={re.escape(words)!r}):
            rayhpc.init({call})
        assert not rayhpc.is_initialized()
        rayhpc.init(num_cpus=1)
        """,
    )
    assert done.returncode == 0


def test_the_job_s_environment_and_namespace(run_program: Run, tmp_path: Path) -> None:
    (tmp_path / "helper_of_job.py").write_text("VALUE = 7\n")
    run_program(
        f"""
        import os, rayhpc
        rayhpc.init(
            num_cpus=1, namespace="mine",
            runtime_env={{"env_vars": {{"OF_JOB": "yes"}}, "working_dir": {str(tmp_path)!r}}},
        )
        @rayhpc.remote
        def look():
            import helper_of_job
            context = rayhpc.get_runtime_context()
            return os.environ["OF_JOB"], helper_of_job.VALUE, context.namespace
        assert rayhpc.get(look.remote()) == ("yes", 7, "mine")
        more = {{"env_vars": {{"MORE": "too"}}}}
        @rayhpc.remote(runtime_env=more)
        def both():
            return os.environ["OF_JOB"] + os.environ["MORE"]
        assert rayhpc.get(both.remote()) == "yestoo"
        """
    )


# -- a cluster that exists -----------------------------------------------------------------------
_KEEPER = """
import sys, rayhpc
context = rayhpc.init(num_cpus=2, namespace="keeper")
print(context["session_dir"], context["address"], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def keeper() -> Iterator[tuple[str, str]]:
    """A program that has a cluster: its session's directory and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", _KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    session, address = process.stdout.readline().split()
    yield session, address
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


_JOIN = """
import rayhpc
rayhpc.init({call})
print(rayhpc.cluster_resources()["CPU"], rayhpc.get_runtime_context().gcs_address)
@rayhpc.remote
def f():
    return rayhpc.get_runtime_context().get_job_id()
assert rayhpc.get(f.remote()) == rayhpc.get_runtime_context().get_job_id()
"""


def test_joining_by_directory_address_and_variable(run_program: Run, keeper: Any) -> None:
    session, address = keeper
    expected = ["2.0", address]
    assert run_program(_JOIN.format(call=repr(session))).stdout.split() == expected
    assert run_program(_JOIN.format(call=repr(address))).stdout.split() == expected
    told = {"RAYHPC_ADDRESS": address}
    assert run_program(_JOIN.format(call=""), env=told).stdout.split() == expected
    assert run_program(_JOIN.format(call="'auto'"), env=told).stdout.split() == expected
    alone = run_program(_JOIN.format(call="'local', num_cpus=1"), env=told).stdout.split()
    assert alone[0] == "1.0"
    assert alone[1] != address
    # RAY_ADDRESS is meant for programs that use rayhpc under the name ray.
    other = run_program(_JOIN.format(call="num_cpus=1"), env={"RAY_ADDRESS": address})
    assert other.stdout.split()[0] == "1.0"


def test_sizes_of_a_cluster_that_exists_are_told_once_and_ignored(
    run_program: Run, keeper: Any
) -> None:
    session, _ = keeper
    done = run_program(_JOIN.format(call=f"{session!r}, num_cpus=7, object_store_memory=2**30"))
    assert done.stdout.startswith("2.0")
    assert done.stderr.count("exists already") == 1
    assert "num_cpus, object_store_memory" in done.stderr


def test_programs_share_detached_actors_by_name(run_program: Run, keeper: Any) -> None:
    session, _ = keeper
    run_program(
        f"""
        import rayhpc
        rayhpc.init({session!r}, namespace="shared")
        @rayhpc.remote
        class Store:
            def __init__(self): self.x = 0
            def add(self): self.x += 1; return self.x
        kept = Store.options(name="kept", lifetime="detached").remote()
        lost = Store.options(name="lost").remote()
        assert rayhpc.get([kept.add.remote(), lost.add.remote()]) == [1, 1]
        """
    )
    run_program(
        f"""
        import rayhpc, pytest, time
        rayhpc.init({session!r}, namespace="shared")
        assert rayhpc.get(rayhpc.get_actor("kept").add.remote()) == 2
        deadline = time.monotonic() + 10
        while True:
            try:
                rayhpc.get_actor("lost")
            except ValueError:
                break
            assert time.monotonic() < deadline
        with pytest.raises(ValueError):
            rayhpc.get_actor("kept", namespace="other")
        rayhpc.kill(rayhpc.get_actor("kept"))
        """
    )


# -- the end -------------------------------------------------------------------------------------
_STARTED = """
import os, sys, time, rayhpc
context = rayhpc.init(num_cpus=1)
@rayhpc.remote
def pid():
    return os.getpid()
@rayhpc.remote
def nap():
    time.sleep(60)
print(context["session_dir"], rayhpc.get(pid.remote()), flush=True)
"""


def _gone(session: str, pid: str) -> None:
    deadline = time.monotonic() + 15
    while os.path.exists(session) or os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('ended')", 1),
        ("os._exit(4)", 4),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
        ("nap.remote(); rayhpc.shutdown()", 0),
    ],
)
def test_nothing_remains_however_the_program_ends(run_program: Run, end: str, code: int) -> None:
    done = run_program(_STARTED + end, check=False)
    assert done.returncode == code, done.stderr
    _gone(*done.stdout.split())


def test_ctrl_c_ends_a_wait(tmp_path: Path) -> None:
    program = _STARTED + textwrap.dedent(
        """
        try:
            rayhpc.get(nap.remote())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    session, pid = process.stdout.readline().split()
    time.sleep(0.3)  # until it waits; earlier is an interrupt, too
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert "interrupted" in out
    assert process.returncode == -signal.SIGINT
    _gone(session, pid)


def test_a_forked_child_is_told_what_to_do_and_disturbs_nobody(run_program: Run) -> None:
    run_program(
        """
        import os, rayhpc
        rayhpc.init(num_cpus=1)
        @rayhpc.remote
        def f():
            return 1
        ref = rayhpc.put("kept")
        child = os.fork()
        if child == 0:
            del ref
            try:
                rayhpc.get(f.remote())
            except rayhpc.exceptions.RaySystemError as error:
                os._exit(5 if "spawn" in str(error) else 6)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        assert rayhpc.get([f.remote(), ref]) == [1, "kept"]
        """
    )


def test_a_forked_child_that_ends_normally_leaves_the_cluster_running(run_program: Run) -> None:
    run_program(
        """
        import multiprocessing, rayhpc
        rayhpc.init(num_cpus=1)
        @rayhpc.remote
        def f():
            return 1
        def work(queue):
            queue.put(rayhpc.is_initialized())
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        assert queue.get() is False
        process.join()
        assert process.exitcode == 0
        assert rayhpc.get(f.remote()) == 1
        """
    )


def test_references_after_shutdown_are_inert(run_program: Run) -> None:
    run_program(
        """
        import rayhpc
        rayhpc.init(num_cpus=1)
        ref = rayhpc.put(1)
        rayhpc.shutdown()
        del ref
        rayhpc.init(num_cpus=1)
        assert rayhpc.get(rayhpc.put(2)) == 2
        """
    )


def test_a_remote_function_serves_one_cluster_after_another(run_program: Run) -> None:
    run_program(
        """
        import rayhpc
        @rayhpc.remote
        def f(x):
            return x
        @rayhpc.remote
        class A:
            def m(self):
                return 1
        for i in range(2):
            rayhpc.init(num_cpus=1)
            assert rayhpc.get(f.remote(i)) == i
            assert rayhpc.get(A.remote().m.remote()) == 1
            rayhpc.shutdown()
        """
    )


# -- output --------------------------------------------------------------------------------------
def test_what_workers_print_comes_with_name_and_pid(run_program: Run) -> None:
    done = run_program(
        """
        import os, sys, rayhpc
        rayhpc.init(num_cpus=1)
        @rayhpc.remote
        def speak():
            print("spoken aloud")
            print("an error", file=sys.stderr)
            return os.getpid()
        @rayhpc.remote(max_retries=0)
        def last_words():
            print("last words", flush=True)
            os._exit(1)
        pid = rayhpc.get(speak.remote())
        try:
            rayhpc.get(last_words.remote())
        except rayhpc.exceptions.WorkerCrashedError:
            pass
        print("pid", pid)
        """
    )
    pid = done.stdout.split()[-1]
    assert re.search(rf"\(.*speak.* pid={pid}, ip=127\.0\.0\.1\) spoken aloud", done.stdout)
    assert "an error" in done.stderr
    assert "last words" in done.stdout


def test_log_to_driver_can_be_switched_off(run_program: Run) -> None:
    done = run_program(
        """
        import rayhpc
        rayhpc.init(num_cpus=1, log_to_driver=False)
        @rayhpc.remote
        def speak():
            print("spoken aloud")
        rayhpc.get(speak.remote())
        """
    )
    assert "spoken" not in done.stdout


def test_a_demand_that_no_node_can_meet_is_told_within_a_second(run_program: Run) -> None:
    done = run_program(
        """
        import rayhpc
        rayhpc.init(num_cpus=1)
        @rayhpc.remote(num_cpus=64)
        def huge(): ...
        @rayhpc.remote(resources={"unicorn": 1})
        class Rare:
            def m(self): ...
        ready, rest = rayhpc.wait([huge.remote(), Rare.remote().m.remote()], timeout=1)
        assert not ready
        """
    )
    assert "64 CPU" in done.stderr
    assert "unicorn" in done.stderr


def test_repeated_lines_are_folded_and_it_is_said_once_how_to_see_them_all(
    run_program: Run,
) -> None:
    program = """
        import time, rayhpc
        rayhpc.init(num_cpus=3)
        @rayhpc.remote
        def speak(i):
            print(f"the same line {i}")
            print("another one")
            time.sleep(0.3)
        rayhpc.get([speak.remote(i) for i in range(3)])
        """
    folded = run_program(program).stdout
    assert folded.count("the same line") == 2
    assert "[repeated 2x across cluster" in folded
    assert folded.count("RAYHPC_DEDUP_LOGS=0") == 1
    plain = run_program(program, env={"RAYHPC_DEDUP_LOGS": "0"}).stdout
    assert plain.count("the same line") == 3


def test_references_of_the_cluster_before_disturb_nothing(run_program: Run) -> None:
    run_program(
        """
        import rayhpc, pytest
        @rayhpc.remote
        def f(x):
            return x
        rayhpc.init(num_cpus=1)
        old = [f.remote(i) for i in range(5)]
        assert rayhpc.get(old) == [0, 1, 2, 3, 4]
        kept = old.pop()
        rayhpc.shutdown()
        rayhpc.init(num_cpus=1)
        new = [f.remote(10 + i) for i in range(5)]
        del old
        assert rayhpc.get(new) == [10, 11, 12, 13, 14]
        with pytest.raises(rayhpc.exceptions.RaySystemError, match="has left"):
            rayhpc.get(kept)
        """
    )


def test_a_program_with_many_clusters_keeps_nothing_of_them(run_program: Run) -> None:
    done = run_program(
        """
        import gc, os
        import rayhpc as ray

        @ray.remote
        def one():
            return 1

        def round():
            ray.init(num_cpus=1, log_to_driver=False)
            assert ray.get(one.remote()) == 1
            ray.shutdown()
            gc.collect()
            links = []
            for number in os.listdir("/proc/self/fd"):
                try:
                    links.append(os.readlink(f"/proc/self/fd/{number}"))
                except FileNotFoundError:  # the listing's own
                    pass
            return len(links), sum("rayhpc-store" in x for x in links)

        rounds = [round() for _ in range(4)]
        print(rounds[-1][0] - rounds[0][0], rounds[-1][1])
        """
    )
    assert done.stdout.split() == ["0", "0"]
