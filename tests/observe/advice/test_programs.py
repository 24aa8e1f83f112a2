"""Real programs with one fault each: the report of the run names it; of a good one, nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.observe import facts, recording
from rayhpc.observe.views.everything import Views, views

START = """
import time
import rayhpc as ray
ray.init()

@ray.remote
def work(seconds, *more):
    time.sleep(seconds)
"""
GOOD = "ray.get([work.remote(0.05) for _ in range(40)])"
SPILLS = """
made = [ray.put(bytes(8_000_000)) for _ in range(20)]
ray.get([work.remote(0.05, x) for x in made])
"""
FAILS = """
fails = ray.remote(lambda: time.sleep(0.05) or 1 / 0)
refs = [fails.remote() for _ in range(20)] + [work.remote(0.05) for _ in range(20)]
ray.wait(refs, num_returns=40)
"""
TWO_ACTORS = """
@ray.remote
class Worker:
    def work(self):
        time.sleep(0.05)

workers = [Worker.remote() for _ in range(2)]
ray.get([x.work.remote() for x in workers for _ in range(30)])
"""
SENDS = "value = bytes(8_000_000)\nray.get([work.remote(0.02, value) for _ in range(30)])"
# The program, and what else is said to `rayhpc run`.
FAULTS: dict[str, tuple[str, list[str]]] = {
    "one_at_a_time": ("for _ in range(30): ray.get(work.remote(0.04))", []),
    "tiny_tasks": ("ray.get([work.remote(0) for _ in range(15_000)])", []),
    "long_tail": ("ray.get([work.remote(x) for x in [0.05] * 30 + [1.5]])", []),
    "large_arguments": (SENDS, []),
    "spilling": (SPILLS, ["--object-store-memory", "60M"]),
    "lost_runs": (FAILS, []),
    "driver_alone": (f"{GOOD}\ntime.sleep(2.5)\n{GOOD}", []),
    "idle_cpus": (TWO_ACTORS, ["--num-cpus", "8"]),
}
# A second node without the GPU that all tasks ask for; started by the program itself.
TWO_NODES = """
import sys, time
from pathlib import Path
import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.launch import last_look, sessions
from rayhpc.launch.observer import Observer
from rayhpc.observe.recording import JobFacts, write

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 2})
cluster.add_node(num_cpus=2)
ray.init(address=cluster.address)

@ray.remote(num_gpus=1)
def work():
    time.sleep(0.05)

began = time.time()
ray.get([work.remote() for _ in range(40)])
ended = time.time()
with Observer(sessions.find(cluster.address).session_dir) as observer:
    ray.shutdown()
    found = last_look.take_down(observer, JobFacts(["two"], began, ended, 0), 5.0)
write(found, Path(sys.argv[1]))
cluster.shutdown()
"""


def seen(program: str, words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Views:
    """What is to be seen of a program that runs on a cluster of this machine."""
    monkeypatch.setenv("RAYHPC_JOB_DIR", str(folder))
    # Words that are given twice count as they were given last.
    run = [sys.executable, "-m", "rayhpc.cli.main", "run", "--num-cpus", "2", *words]
    command = [*run, "--", sys.executable, "-c", START + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return views(facts.snapshot(recording.read(folder / "recording")))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_program_with_a_fault_is_told_of_it(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(*FAULTS[fault], tmp_path, monkeypatch)
    assert fault in [x.kind for x in found.advice], found.advice


def test_a_program_without_a_fault_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen("ray.get([work.remote(0.05) for _ in range(80)])", [], tmp_path, monkeypatch)
    assert found.overview.tasks == 80
    assert found.advice == []
    # What the nodes and the submitter add to it, end to end.
    (row,) = found.functions
    assert row.for_room_of == 80
    assert 0.2 < row.for_room / 80 < found.overview.seconds
    assert 0 < found.overview.memory_used < found.overview.memory_limit
    assert found.memory.nodes[0].limit == found.overview.memory_limit


def test_a_node_without_what_the_tasks_ask_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYHPC_ADDRESS", raising=False)
    place = tmp_path / "recording"
    done = subprocess.run(
        [sys.executable, "-c", TWO_NODES, str(place)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = views(facts.snapshot(recording.read(place)))
    (advice,) = [x for x in found.advice if x.kind == "idle_nodes"]
    assert "asks for a GPU" in advice.finding
