"""Which process runs what: what ran there before, which GPUs and threads it is shown."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from rayhpc.cluster_utils import Cluster
from tests.api.actors.counter import wait_for

Run = Callable[..., Any]


@rayhpc.remote
def leave_a_mark() -> int:
    import os

    os.environ["LEFT"] = "by a task"
    return os.getpid()


@rayhpc.remote
class Looks:
    def look(self) -> tuple[int, str | None]:
        import os

        return os.getpid(), os.environ.get("LEFT")


@pytest.mark.parametrize("options", [{}, {"num_cpus": 1}, {"max_concurrency": 2}])
def test_an_actors_process_has_run_no_task_before(ray: Any, options: dict[str, Any]) -> None:
    pids = set(ray.get([leave_a_mark.remote() for _ in range(8)]))
    actors = [Looks.options(**options).remote() for _ in range(3)]
    for pid, left in ray.get([x.look.remote() for x in actors]):
        assert left is None
        assert pid not in pids


def test_nor_has_that_of_an_actor_on_another_node(nodes: Cluster) -> None:
    far = {"resources": {"far": 0.1}}
    pids = set(rayhpc.get([leave_a_mark.options(**far).remote() for _ in range(4)]))
    pid, left = rayhpc.get(Looks.options(**far).remote().look.remote())
    assert left is None
    assert pid not in pids


@rayhpc.remote
def shown() -> tuple[int, str | None]:
    import os

    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_gpus_are_given_to_no_process_that_has_seen_none(ray: Any) -> None:
    blind = {ray.get(shown.remote())[0] for _ in range(4)}
    pid, gpus = ray.get(shown.options(num_gpus=1).remote())
    assert gpus
    assert pid not in blind
    assert ray.get(shown.remote())[1] == ""
    keeps = shown.options(num_gpus=1, max_calls=0)
    again = [ray.get(keeps.remote())[0] for _ in range(2)]
    assert not blind.intersection(again)


def test_the_variable_that_selects_gpus_is_left_alone_if_told(run_program: Run) -> None:
    program = """
        import json, os, rayhpc as ray
        ray.init(num_cpus=1, num_gpus=2)
        @ray.remote
        def shown(): return os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_gpu_ids()
        @ray.remote(num_gpus=1)
        class A:
            def shown(self): return os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_gpu_ids()
        gpu = shown.options(num_gpus=1)
        print(json.dumps(ray.get([shown.remote(), gpu.remote(), A.remote().shown.remote()])))
    """
    name = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
    done = run_program(program, env={name: "1", "CUDA_VISIBLE_DEVICES": "0,1"})
    (none, no_ids), (task, ids), (actor, more) = json.loads(done.stdout.splitlines()[-1])
    assert (none, task, actor) == ("0,1", "0,1", "0,1")
    assert (no_ids, len(ids), len(more)) == ([], 1, 1)
    done = run_program(program, env={"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"})
    (none, _), (task, ids), _ = json.loads(done.stdout.splitlines()[-1])
    assert none is None
    assert task == str(ids[0])


@rayhpc.remote
def threads() -> dict[str, str | None]:
    import os

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: os.environ.get(name) for name in names}


@rayhpc.remote
class Threads:
    def get(self) -> str | None:
        import os

        return os.environ.get("OMP_NUM_THREADS")


def test_the_users_number_of_threads_wins(ray: Any) -> None:
    mine = {"runtime_env": {"env_vars": {"OMP_NUM_THREADS": "3"}}}
    assert ray.get(threads.remote())["OMP_NUM_THREADS"] == "1"
    assert ray.get(threads.options(num_cpus=2).remote())["MKL_NUM_THREADS"] == "2"
    found = ray.get(threads.options(num_cpus=2, **mine).remote())
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["MKL_NUM_THREADS"] in (None, "3")  # which follows the other where it is not set
    assert ray.get(Threads.options(**mine).remote().get.remote()) == "3"
    blas = {"runtime_env": {"env_vars": {"OPENBLAS_NUM_THREADS": "5"}}}
    found = ray.get(threads.options(**blas).remote())
    assert (found["OPENBLAS_NUM_THREADS"], found["OMP_NUM_THREADS"]) == ("5", "1")


def test_also_on_another_node(nodes: Cluster) -> None:
    mine = {"runtime_env": {"env_vars": {"OMP_NUM_THREADS": "3"}}, "resources": {"far": 0.1}}
    assert rayhpc.get(threads.options(**mine).remote())["OMP_NUM_THREADS"] == "3"


@rayhpc.remote
def scores() -> list[int]:
    """How the kernel ranks the worker, what it starts, the fork server and the raylet."""
    import os
    import subprocess

    import psutil

    server = os.getppid()
    pids = [os.getpid(), server, psutil.Process(server).ppid()]
    found = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids]
    child = subprocess.check_output(["cat", "/proc/self/oom_score_adj"])
    return [found[0], int(child), *found[1:]]


def test_workers_are_what_the_kernel_ends_first_for_want_of_memory(ray: Any) -> None:
    mine = int(Path("/proc/self/oom_score_adj").read_text())
    assert ray.get(scores.remote()) == [1000, 1000, mine, mine]


@rayhpc.remote(num_cpus=0)
def marks_late(mark: str) -> None:
    import time

    time.sleep(0.5)
    open(mark, "w").close()


def test_a_worker_stays_for_what_its_task_has_submitted(ray: Any, tmp_path: Path) -> None:
    @ray.remote(max_calls=1)
    def submits(mark: str) -> None:
        marks_late.remote(mark)

    mark = tmp_path / "late"
    ray.get(submits.remote(str(mark)), timeout=20)
    wait_for(mark.exists)


@rayhpc.remote(max_retries=0)
def waits(pids: str) -> None:
    import os
    import time

    Path(pids, str(os.getpid())).touch()
    time.sleep(100)


@rayhpc.remote(max_retries=0)
def waits_for_another(pids: str) -> None:
    import os

    Path(pids, str(os.getpid())).touch()
    rayhpc.get(waits.options(num_cpus=0).remote(f"{pids}/inner"))


@rayhpc.remote(max_restarts=1)
class Restarts:
    def pid(self) -> int:
        import os

        return os.getpid()


def test_a_worker_that_is_sent_sigterm_ends(ray: Any, tmp_path: Path) -> None:
    """In user code, in get(), and as an actor without work; the signal is of no batch system."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "other").mkdir()
    refs = [waits.remote(str(tmp_path / "other")), waits_for_another.remote(str(tmp_path))]
    actor = Restarts.remote()
    first = ray.get(actor.pid.remote(), timeout=20)
    pids: list[int] = [first]

    def are_running() -> bool:
        found = [x.name for folder in (tmp_path, tmp_path / "other") for x in folder.iterdir()]
        pids[1:] = [int(name) for name in found if name.isdigit()]
        return len(pids) == 3 and any((tmp_path / "inner").iterdir())

    wait_for(are_running)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for ref in refs:
        with pytest.raises(exceptions.WorkerCrashedError, match="SIGTERM"):
            ray.get(ref, timeout=20)
    wait_for(lambda: not os.path.exists(f"/proc/{first}"))
    assert ray.get(actor.pid.options(max_task_retries=-1).remote(), timeout=20) != first
