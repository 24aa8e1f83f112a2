"""What `ps` shows: tasks and calls by their names, rayhpc's own processes by what they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc.cluster_utils import Cluster
from rayhpc.machine import process_title
from tests.launch.processes import family


def title_of(pid: int) -> str:
    """As `ps -o args` shows it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def eventually(pid: int, title: str) -> bool:
    deadline = time.monotonic() + 60
    while title_of(pid) != title and time.monotonic() < deadline:
        time.sleep(0.01)
    return title_of(pid) == title


def named_task() -> tuple[str, str, int]:
    return title_of(os.getpid()), Path("/proc/self/comm").read_text().strip(), os.getpid()


class Plain:
    def __init__(self) -> None:
        self.title = title_of(os.getpid())

    def constructed(self) -> str:
        return self.title

    def work(self) -> tuple[str, int]:
        return title_of(os.getpid()), os.getpid()

    def items(self) -> Any:
        yield title_of(os.getpid())


class Async(Plain):
    async def work(self) -> tuple[str, int]:
        return title_of(os.getpid()), os.getpid()


@pytest.fixture(params=["near", "far"])
def place(request: pytest.FixtureRequest, nodes: Cluster) -> dict[str, Any]:
    """On each of two nodes."""
    return {"resources": {request.param: 0.01}}


def test_a_task_and_an_idle_worker(place: dict[str, Any]) -> None:
    title, thread, pid = rayhpc.get(rayhpc.remote(named_task).options(**place).remote())
    assert (title, thread) == ("ray::named_task", "ray::named_task")
    assert eventually(pid, "rayhpc worker (idle)")


def test_the_name_that_a_call_was_given(place: dict[str, Any]) -> None:
    named = rayhpc.remote(named_task).options(name="stage one", **place)
    assert rayhpc.get(named.remote())[0] == "ray::stage one"


def test_an_actor_at_work_and_at_rest(place: dict[str, Any]) -> None:
    actor = rayhpc.remote(Plain).options(**place).remote()
    title, pid = rayhpc.get(actor.work.remote())
    assert title == "ray::Plain.work"
    assert rayhpc.get(actor.constructed.remote()) == "ray::Plain.__init__"
    assert eventually(pid, "ray::Plain")
    items = actor.items.options(num_returns="streaming").remote()
    assert rayhpc.get(next(items)) == "ray::Plain.items"
    rayhpc.kill(actor)


@pytest.mark.parametrize(("cls", "limit"), [(Plain, 2), (Async, 10)])
def test_calls_at_the_same_time_have_the_class_as_title(
    place: dict[str, Any], cls: type, limit: int
) -> None:
    actor = rayhpc.remote(cls).options(max_concurrency=limit, **place).remote()
    assert rayhpc.get(actor.constructed.remote()) == f"ray::{cls.__name__}.__init__"
    assert rayhpc.get(actor.work.remote())[0] == f"ray::{cls.__name__}"
    rayhpc.kill(actor)


def test_a_title_longer_than_the_arguments(ray: Any) -> None:
    name = "n" * 500
    assert ray.get(ray.remote(named_task).options(name=name).remote())[0] == f"ray::{name}"
    # The environment, whose place the title has taken, is whole.
    look = ray.remote(lambda: subprocess.check_output(["bash", "-c", "echo -n $PATH"], text=True))
    assert ray.get(look.remote()) == os.environ["PATH"]


def test_the_processes_of_a_node(ray: Any) -> None:
    ray.get(ray.remote(named_task).remote())
    titles = {title_of(pid) for pid in family(os.getpid()) if Path(f"/proc/{pid}").exists()}
    assert {"rayhpc head", "rayhpc raylet", "rayhpc fork server"} <= titles


def test_where_setproctitle_is_installed_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "setproctitle.py").write_text("def setproctitle(title): print('set', title)")
    code = "from rayhpc.machine import process_title as p; p.prepare(); p.show('ray::x')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(rayhpc.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set ray::x\n"


def test_nothing_is_written_before_it_is_known_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_title, "_write", None)
    before = title_of(os.getpid())
    process_title.show("ray::x")
    assert title_of(os.getpid()) == before
