"""`rayhpc run --engine ray` with a real Ray: what a program gets, and every kind of end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from rayhpc.exit_codes import ExitCode
from tests.engines.conftest import Ranks, descendant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LIMIT_S = 300.0

DATA = """
import os, ray
ray.init(logging_level="ERROR")
import ray.data
ray.data.DataContext.get_current().enable_progress_bars = False
rows = ray.data.range(1000).map_batches(lambda batch: {"id": batch["id"] * 2})
rows = rows.filter(lambda row: row["id"] % 3 == 0)
print("data", rows.sum("id"), ray.__file__, os.environ["RAYHPC_AS_RAY"], flush=True)
open(os.environ["MEET"]).read()
"""
TUNE = """
import os, sys, ray
ray.init(logging_level="ERROR")
from ray import tune
def trial(config):
    tune.report({"score": -(config["x"] - 3) ** 2})
space = {"x": tune.grid_search([1, 2, 3, 4])}
tuner = tune.Tuner(tune.with_resources(trial, {"cpu": 1}), param_space=space,
                   tune_config=tune.TuneConfig(metric="score", mode="max"),
                   run_config=tune.RunConfig(storage_path=os.environ["STORAGE"], verbose=0))
print("best", tuner.fit().get_best_result().config["x"])
print("token", os.environ["RAY_AUTH_TOKEN_PATH"], ray.nodes()[0]["Resources"]["CPU"])
sys.stdout.flush()
open(os.environ["MEET"], "w").write("over")
sys.exit(7)
"""
WAIT = """
import ray, time
ray.init(logging_level="ERROR")
alive = sum(node["Alive"] for node in ray.nodes())
@ray.remote(num_cpus=2, scheduling_strategy="SPREAD")
def spread():
    time.sleep(0.5)
    return ray.get_runtime_context().get_node_id()
nodes = len(set(ray.get([spread.remote() for _ in range(3)])))
@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
class Holder:
    def hold(self, seconds):
        time.sleep(seconds)
holders = [Holder.remote() for _ in range(3)]
ray.get([each.hold.remote(0) for each in holders])
held = [each.hold.remote(1000) for each in holders]
print(alive, nodes, flush=True)
ray.get(held[0])
"""
# Its cluster serves it after the interrupt.
INTERRUPTED = """
import ray, sys, time
ray.init(logging_level="ERROR")
five = ray.remote(lambda: 5)
ray.get(five.remote())
try:
    print("here", flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    sys.exit(ray.get(five.remote()))
"""


def test_two_clusters_at_a_time_run_tune_and_data(ranks: Ranks) -> None:
    meet = ranks.folder / "meet.fifo"
    os.mkfifo(meet)
    # Each goes on until the other is up: the pipe between them opens with both ends.
    data = ranks.start(DATA, MEET=str(meet))
    tune = ranks.start(TUNE, MEET=str(meet), STORAGE=str(ranks.folder / "results"))
    assert data.stdout is not None
    line = data.stdout.readline().split()
    ranks.note()
    sessions = list(ranks.base.iterdir())
    tokens = [each / "token" for each in sessions]
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tokens if each.exists()}
    secrets = [each.read_text() for each in tokens if each.exists()]
    told = _told(ranks)
    tuned, tune_said = tune.communicate(timeout=LIMIT_S)
    _, data_said = data.communicate(timeout=LIMIT_S)

    # 2 * sum of 3k below 1000: 2 * 3 * (0 + … + 333)
    assert line[:2] == ["data", "333666"], data_said
    assert "site-packages/ray/" in line[2]
    assert line[3] == "0"
    assert data.returncode == 0, data_said
    assert "best 3" in tuned, tune_said
    assert " 2.0" in tuned
    assert tune.returncode == 7, tune_said
    assert "exit code 7" in tune_said
    assert modes == {0o600}
    assert not [secret for secret in secrets if secret in told]
    assert ranks.left() == []


def test_a_lost_node_then_a_killed_rank_0(ranks: Ranks) -> None:
    first, second, third = (ranks.start(WAIT, rank=rank, size=3) for rank in range(3))
    assert first.stdout is not None
    nodes = first.stdout.readline()
    ranks.note()
    assert nodes == "3 3\n", ranks.started
    # The raylet of one node dies.
    os.kill(_raylet(third), signal.SIGKILL)
    assert third.wait(LIMIT_S) == ExitCode.NODE_LOST
    assert first.poll() is None
    # So does rank 0 itself; nobody tells the other that it is over.
    first.kill()
    assert second.wait(LIMIT_S) == ExitCode.HEAD_LOST
    assert ranks.left() == []


def test_ctrl_c_reaches_the_program_alone(ranks: Ranks) -> None:
    terminal, its = os.openpty()
    rank = ranks.start(INTERRUPTED, terminal=its)
    os.close(its)
    assert rank.stdout is not None
    assert rank.stdout.readline() == "here\n"
    ranks.note()
    os.write(terminal, b"\x03")
    _, said = rank.communicate(timeout=LIMIT_S)
    os.close(terminal)
    assert rank.returncode == 5, said
    assert ranks.left() == []


@pytest.mark.parametrize("title", ["rayhpc ray node", "rayhpc ray guard"])
def test_one_of_both_that_keep_a_node_is_killed(ranks: Ranks, title: str) -> None:
    rank = ranks.start(WAIT.replace("range(3)", "range(1)", 1))
    assert rank.stdout is not None
    assert rank.stdout.readline() == "1 1\n"
    ranks.note()
    os.kill(descendant(rank.pid, title), signal.SIGKILL)
    _, said = rank.communicate(timeout=LIMIT_S)
    assert rank.returncode == ExitCode.NODE_LOST, said
    assert ranks.left() == []


def test_ranks_with_another_ray_are_refused_by_name(ranks: Ranks, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text('#!/bin/sh\necho \'["9.9.9", "3.11"]\'\n')
    other.chmod(0o755)
    head = ranks.start("print('never')", "--min-nodes", "2", rank=0, size=2)
    path = f"{tmp_path}:{os.environ['PATH']}"
    joiner = ranks.start("", rank=1, size=2, PATH=path)
    _, refused = joiner.communicate(timeout=LIMIT_S)
    out, said = head.communicate(timeout=LIMIT_S)
    assert joiner.returncode == ExitCode.REFUSED, refused
    assert "has Ray 9.9.9" in refused
    assert head.returncode == ExitCode.TOO_FEW_NODES, said
    assert "1 of 2 nodes joined" in said
    assert "has Ray 9.9.9" in said
    assert out == ""
    assert ranks.left() == []


def _told(ranks: Ranks) -> str:
    """All arguments and environments of all processes."""
    texts = []
    for pid in ranks.known:
        for name in ("cmdline", "environ"):
            try:
                texts.append(Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace"))
            except OSError:
                continue
    return "\0".join(texts)


def _raylet(rank: subprocess.Popen[str]) -> int:
    return descendant(rank.pid, "raylet/raylet")
