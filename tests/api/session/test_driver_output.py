"""What the driver prints of its workers, and of demands that wait."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


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


@pytest.mark.parametrize("nodes", [1, 2])
def test_what_was_printed_before_the_last_result_comes_before_the_end(
    run_program: Run, nodes: int
) -> None:
    """From every node, at once: results come by a shorter way than lines."""
    done = run_program(
        f"""
        import rayhpc
        from rayhpc.cluster_utils import Cluster

        @rayhpc.remote(scheduling_strategy="SPREAD")
        def speak(turn, i):
            print(f"in turn {{turn}} said {{i}}")

        for turn in range(8):
            cluster = Cluster()
            for _ in range({nodes}):
                cluster.add_node(num_cpus=1)
            cluster.connect()
            cluster.wait_for_nodes()
            rayhpc.get([speak.remote(turn, i) for i in range(20)])
            rayhpc.shutdown()
            cluster.shutdown()
        """,
        {"RAYHPC_DEDUP_LOGS": "0"},
    )
    counts = [done.stdout.count(f"in turn {turn} said") for turn in range(8)]
    assert counts == [20] * 8


def test_a_program_that_prints_too_slowly_fills_no_memory_and_says_what_is_left_out(
    run_program: Run,
) -> None:
    """Its workers go on, too."""
    done = run_program(
        """
        import os, signal, rayhpc

        @rayhpc.remote
        def much():
            for i in range(100_000):
                print("x" * 200)

        @rayhpc.remote
        def stop_and_go(driver):
            os.kill(driver, signal.SIGSTOP)
            rayhpc.get(much.remote())
            os.kill(driver, signal.SIGCONT)

        rayhpc.init(num_cpus=2)
        rayhpc.get(stop_and_go.remote(os.getpid()), timeout=50)
        """
    )
    shown = done.stdout.count("x" * 200)
    assert 8_000_000 / 202 < shown < 60_000
    assert f"{100_000 - shown:,} lines of workers are left out" in done.stderr


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


SPEAKERS = """
    import asyncio, multiprocessing, os, sys, threading, time
    import rayhpc
    from rayhpc.cluster_utils import Cluster
    cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 4})
    far = {"resources": {"far": 0.01}}
    if {nodes} == 2:
        cluster.add_node(num_cpus=4, resources={"far": 1})
        cluster.wait_for_nodes()
    options = far if {nodes} == 2 else {"num_cpus": 0.1}

    def fork(what, end):
        pid = os.fork()
        if pid == 0:
            print(f"{what} forked", end=end, flush=True)
            print(f"{what} forked error", end=end, flush=True, file=sys.stderr)
            os._exit(0)
        process = multiprocessing.get_context("fork").Process(target=print, args=(f"{what} child",))
        process.start()
        process.join()
        return os.waitpid(pid, 0)[1], process.exitcode

    @rayhpc.remote(**options)
    def task(end): return fork("task", end)
    @rayhpc.remote(num_returns="streaming", **options)
    def generator(end): yield fork("generator", end)
    @rayhpc.remote(**options)
    class Plain:
        def run(self, end): return fork("plain", end)
    @rayhpc.remote(**options)
    class Async:
        async def run(self, end): return fork("async", end)
    @rayhpc.remote(max_concurrency=2, **options)
    class Threaded:
        def run(self, end): return fork("threaded", end)
"""
WHO = ("task", "generator", "plain", "async", "threaded")


def _speakers(nodes: int) -> str:
    return SPEAKERS.replace("{nodes}", str(nodes))


@pytest.mark.parametrize("nodes", [1, 2])
def test_who_is_forked_by_user_code_may_print(run_program: Run, nodes: int) -> None:
    done = run_program(
        _speakers(nodes)
        + """
    actors = [x.remote() for x in (Plain, Async, Threaded)]
    refs = [task.remote("\\n"), *(x.run.remote("\\n") for x in actors)]
    refs += list(generator.remote("\\n"))
    print("codes", set(rayhpc.get(refs)))
    """
    )
    assert "codes {(0, 0)}" in done.stdout
    for who in WHO:
        assert re.search(rf"\(.* pid=\d+, ip=.*\) {who} forked$", done.stdout, re.MULTILINE)
        assert re.search(rf"\(.* pid=\d+, ip=.*\) {who} child$", done.stdout, re.MULTILINE)
        assert f"{who} forked error" in done.stderr


@pytest.mark.parametrize("nodes", [1, 2])
def test_what_ends_without_a_newline_is_shown_at_the_end(run_program: Run, nodes: int) -> None:
    done = run_program(
        _speakers(nodes)
        + """
    @rayhpc.remote(**options)
    def count():
        for i in range(5):
            print(i, end=" ")
            print(100 + i, end=" ", file=sys.stderr)
    @rayhpc.remote(**options)
    class Counter:
        def count(self): print("counted", end="")
    counter = Counter.remote()
    rayhpc.get([count.remote(), task.remote(""), counter.count.remote()])
    """
    )
    assert "0 1 2 3 4" in done.stdout
    assert "task forked" in done.stdout
    assert "counted" in done.stdout
    assert "100 101 102 103 104" in done.stderr


def test_and_while_the_task_runs_after_a_moment_of_quiet(run_program: Run) -> None:
    done = run_program(
        """
        import subprocess, sys, time, rayhpc
        rayhpc.init(num_cpus=1)
        @rayhpc.remote
        def waits():
            print("is it there?", end=" ")
            time.sleep(60)
        waits.remote()
        time.sleep(4)
        print("the driver's end", flush=True)
        """
    )
    assert done.stdout.index("is it there?") < done.stdout.index("the driver's end")
