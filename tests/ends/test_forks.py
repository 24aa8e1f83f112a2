"""One crash, one victim; and user code that forks: nobody else is hurt, and nothing outlives."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rayhpc as ray
from rayhpc.exceptions import RaySystemError, WorkerCrashedError
from tests.launch.processes import Known, family, left_of


@pytest.fixture(scope="module")
def session() -> Iterator[Path]:
    context = ray.init(num_cpus=2, log_to_driver=False)
    yield Path(context.address_info["session_dir"])
    ray.shutdown()


def test_one_crash_has_one_victim(session: Path, tmp_path: Path) -> None:
    """The tasks before and behind it in the same worker's queue run exactly once."""

    @ray.remote(max_retries=0)
    def task(number: int, crash: bool) -> int:
        if crash:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(tmp_path / str(number), "a") as file:
            file.write("x")
        return number

    ray.get([task.remote(-1 - i, False) for i in range(200)])  # known to be short: many a push
    refs = [task.remote(i, i == 500) for i in range(1000)]
    found = []
    for number, ref in enumerate(refs):
        try:
            found.append(ray.get(ref))
        except WorkerCrashedError:
            assert number == 500
    assert found == [*range(500), *range(501, 1000)]
    runs = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {name for name, text in runs.items() if text != "x"} == set()


def test_a_task_may_fork(session: Path) -> None:
    @ray.remote
    def forks() -> tuple[int, str]:
        ref = ray.put(1)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                ray.get(ref)
                os.write(write, b"it answered")
            except RaySystemError as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return ray.get(ref), os.read(read, 4096).decode()

    value, said = ray.get(forks.remote(), timeout=30)
    assert value == 1
    assert "spawn" in said  # the remedy


def test_a_task_may_use_multiprocessing_and_subprocess(session: Path) -> None:
    @ray.remote
    def uses_both() -> tuple[list[int], str]:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            squares = pool.map(pow_two, range(10))
        said = subprocess.run(
            [sys.executable, "-c", "print('hello')"], capture_output=True, text=True, check=True
        )
        return squares, said.stdout.strip()

    assert ray.get(uses_both.remote(), timeout=60) == ([i * i for i in range(10)], "hello")


def pow_two(x: int) -> int:
    return x * x


def test_the_driver_may_fork(session: Path) -> None:
    @ray.remote
    def one() -> int:
        return 1

    ref = ray.put(5)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        refused = pool.apply_async(get_in_child, (ref,))
        with pytest.raises(RaySystemError, match="spawn"):
            refused.get(timeout=30)
    assert ray.get(one.remote(), timeout=30) + ray.get(ref) == 6


def get_in_child(ref: object) -> object:
    return ray.get(ref)


def test_a_worker_that_has_forked_is_seen_to_die(session: Path) -> None:
    """Its child keeps all its descriptors open; the fork server sees the end all the same."""

    @ray.remote(max_retries=0)
    def forks_and_dies() -> None:
        if os.fork() == 0:
            time.sleep(300)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerCrashedError):
        ray.get(forks_and_dies.remote(), timeout=60)


def test_children_that_outlive_their_task_end_with_the_session() -> None:
    """Also those that have left the worker's process group, and those of a worker that is gone."""
    ray.shutdown()
    context = ray.init(num_cpus=2, log_to_driver=False)

    @ray.remote(max_calls=1)
    def leaves_a_child() -> int:
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(["sleep", "300"], start_new_session=True, stdout=quiet)
        return child.pid

    pid = ray.get(leaves_a_child.remote(), timeout=30)
    known: Known = family(pid)
    assert known, "the session must not have ended it yet"
    assert Path(context.address_info["session_dir"]).exists()
    ray.shutdown()
    assert left_of(known) == []
