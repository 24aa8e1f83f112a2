"""How a program leaves its cluster: in order or not, forked, and one cluster after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


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
    deadline = time.monotonic() + 60
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
    out, error = process.communicate(timeout=20)
    assert "interrupted" in out
    assert error.count("Traceback") == 1, error
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


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("kind", ["task", "actor", "async actor"])
def test_futures_that_end_after_the_programs_last_line(
    run_program: Run, kind: str, nodes: int
) -> None:
    """Python runs `atexit` when it starts no threads any more; nothing is lost, nothing is said."""
    done = run_program(
        f"""
        import asyncio, atexit, time
        import rayhpc as ray
        from rayhpc.cluster_utils import Cluster
        cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 4}})
        if {nodes} == 2:
            cluster.add_node(num_cpus=4, resources={{"far": 1}})
        where = {{"resources": {{"far": 0.1}}}} if {nodes} == 2 else {{}}
        ray.init(cluster.address)
        cluster.wait_for_nodes()
        @ray.remote
        def task(i):
            time.sleep(0.5)
            return i
        @ray.remote(max_concurrency=8)
        class Actor:
            def f(self, i):
                time.sleep(0.5)
                return i
        @ray.remote
        class Async:
            async def f(self, i):
                await asyncio.sleep(0.5)
                return i
        kind = {kind!r}
        if kind == "task":
            call = task.options(num_cpus=0.1, **where).remote
        else:
            actor = (Actor if kind == "actor" else Async).options(**where).remote()
            call = actor.f.remote
        ray.get(call(0))
        refs = [call(i) for i in range(4)]
        seen = []
        futures = [ref.future() for ref in refs]
        for future in futures:
            future.add_done_callback(lambda future: seen.append(future.result()))
        def late():
            deadline = time.monotonic() + 60
            while len(seen) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            print("late", ray.get(refs, timeout=60), sorted(seen))
        atexit.register(late)
        """
    )
    assert "late [0, 1, 2, 3] [0, 1, 2, 3]" in done.stdout
    assert "Traceback" not in done.stderr
    assert "ERROR" not in done.stderr


def test_whatever_waits_in_other_threads_ends_with_the_session(run_program: Run) -> None:
    run_program(
        """
        import asyncio, threading
        import rayhpc as ray
        ray.init(num_cpus=1)
        @ray.remote(num_cpus=0)
        class Actor:
            async def never(self):
                await asyncio.Event().wait()
            async def items(self):
                yield 1
                await asyncio.Event().wait()
        actor = Actor.remote()
        items = actor.items.remote()
        assert ray.get(next(items)) == 1
        never, future = actor.never.remote(), actor.never.remote().future()
        async def awaits():
            await never
        async def iterates():
            async for item in actor.items.remote():
                ready.release()
                await item
        ready, seen = threading.Semaphore(0), {}
        def note(name, wait):
            def run():
                ready.release()
                try:
                    wait()
                except ray.exceptions.RaySystemError:
                    seen[name] = True
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            return thread
        threads = [
            note("get", lambda: ray.get(never)),
            note("wait", lambda: ray.wait([never])),
            note("next", lambda: next(items)),
            note("future", lambda: future.result()),
            note("await", lambda: asyncio.run(awaits())),
            note("async for", lambda: asyncio.run(iterates())),
        ]
        for _ in range(7):
            ready.acquire()
        ray.shutdown()
        for thread in threads:
            thread.join(20)
        assert len(seen) == 6, seen
        """
    )
