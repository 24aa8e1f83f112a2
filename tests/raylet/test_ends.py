"""Every kind of end of a node, with real processes: nothing is left, nobody waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayhpc.launch import embedded, node_config
from tests.raylet.forkserver_scenarios import gone

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Scene:
    """A node, a driver on it, a worker of the driver's, and a subprocess of the worker's."""

    def __init__(self) -> None:
        self.session = embedded.start(num_cpus=2, object_store_memory=32 << 20)
        self.folder = Path(self.session.session_dir)
        version = node_config.rayhpc_version()
        self.driver = subprocess.Popen(
            [sys.executable, str(HERE / "holding_driver.py"), str(self.folder), version],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.driver.stdout is not None
        self.worker, self.child = map(int, self.driver.stdout.readline().split())
        self.raylet = self.session.pid
        # The node process has forked the head and the fork server; the latter has workers.
        forked = children(self.raylet)
        self.server = next(x for x in forked if self.worker in family(x))
        self.head = next(x for x in forked if x != self.server)
        self.processes = [*family(self.raylet), self.child]

    def driver_says(self) -> tuple[int, str]:
        """The driver's exit code and last words."""
        out, _ = self.driver.communicate(timeout=60)
        return self.driver.returncode, out

    def nothing_is_left(self) -> bool:
        mine = [x for x in self.processes if x != self.raylet]
        return all(gone(x) for x in mine) and until(lambda: not self.folder.exists())

    def close(self) -> None:
        self.driver.kill()
        self.driver.wait()
        self.session.stop()


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        text = Path(f"/proc/{pid}/task/{task}/children").read_text()
        found += [int(x) for x in text.split()]
    return found


def family(pid: int) -> list[int]:
    return [pid, *(x for child in children(pid) for x in family(child))]


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def test_the_session_is_stopped(scene: Scene) -> None:
    scene.session.stop()
    assert scene.nothing_is_left()
    code, words = scene.driver_says()
    assert code == 5
    assert "ended" in words


def test_the_driver_is_killed(scene: Scene) -> None:
    scene.driver.kill()
    assert gone(scene.worker)
    assert gone(scene.child)
    assert scene.session.is_running()
    scene.session.stop()
    assert scene.nothing_is_left()


def test_a_worker_is_killed(scene: Scene) -> None:
    os.kill(scene.worker, signal.SIGKILL)
    assert gone(scene.child)
    assert scene.session.is_running()
    scene.session.stop()
    assert scene.nothing_is_left()


def test_the_raylet_is_killed(scene: Scene) -> None:
    os.kill(scene.raylet, signal.SIGKILL)
    assert scene.nothing_is_left()


def test_the_fork_server_is_killed(scene: Scene) -> None:
    os.kill(scene.server, signal.SIGKILL)
    assert scene.nothing_is_left()
    assert scene.driver_says()[0] == 5


def test_the_head_is_killed_and_another_takes_its_place(scene: Scene) -> None:
    os.kill(scene.head, signal.SIGKILL)
    assert gone(scene.head)
    known = {scene.server, scene.head}
    assert until(lambda: bool(set(children(scene.raylet)) - known))
    scene.processes += set(children(scene.raylet)) - known
    assert scene.session.is_running()
    assert scene.driver.poll() is None
    scene.session.stop()
    assert scene.nothing_is_left()
    code, words = scene.driver_says()
    assert code == 5
    assert "ended" in words


def test_the_raylet_is_killed_when_the_head_has_come_back(scene: Scene) -> None:
    os.kill(scene.head, signal.SIGKILL)
    assert gone(scene.head)
    known = {scene.server, scene.head}
    assert until(lambda: bool(set(children(scene.raylet)) - known))
    scene.processes += set(children(scene.raylet)) - known
    os.kill(scene.raylet, signal.SIGKILL)
    assert scene.nothing_is_left()


def test_the_node_is_terminated(scene: Scene) -> None:
    os.kill(scene.raylet, signal.SIGTERM)
    assert scene.nothing_is_left()
    assert scene.driver_says()[0] == 5
