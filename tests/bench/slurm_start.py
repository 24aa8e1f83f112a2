"""From `srun` to a program's first line and from its last to the job's end, on a real SLURM.

    python -m tests.bench.slurm_start [--nodes 4,8,64] [--rounds 3] [--ray-venv DIR] [--json]

Needs root and Debian's packages (see `slurm/lab`).  All nodes share this machine's processors.
With a virtual environment that has Ray, its own recipe (`ray symmetric-run`) and `rayhpc run
--engine ray` run the same program on the same nodes; `--ray-nodes` says on how many, as a Ray node
takes seconds and half a gigabyte.
The files are in the page cache, and compiled.  Each number is the median of the rounds; a row that
misses its goal says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.bench.compiled import compile_package
from tests.slurm.fake.cluster import ROOT
from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import RAYHPC, User

GOALS = {4: 1.5, 8: 3.0, 64: 15.0}
GOAL_END_S = 1.0
GOAL_DRY_RUN_S = 0.4
_LIMIT_S = 240.0
_PORT = 6379
_DRY_RUNS = 5
_ENGINE, _RECIPE = "rayhpc run --engine ray", "ray symmetric-run"

# What it prints first and last is the time; in between each node works once.
PROGRAM = """
import time
print(time.time(), flush=True)
import ray
ray.init(address="auto")
nodes = [node for node in ray.nodes() if node["Alive"]]
work = ray.remote(scheduling_strategy="SPREAD")(lambda: ray.util.get_node_ip_address())
ray.get([work.remote() for _ in nodes])
print(len(nodes), flush=True)
print(time.time(), flush=True)
"""


class Row(msgspec.Struct):
    """One line of the table, in seconds; `goal` is for `start`."""

    what: str
    nodes: int
    start: float
    end: float | None = None
    goal: float | None = None
    goal_end: float | None = None

    @property
    def missed(self) -> bool:
        """Whether a number is larger than its goal."""
        late = self.goal is not None and self.start > self.goal
        return late or (None not in (self.end, self.goal_end) and self.end > self.goal_end)


class FailedError(Exception):
    """A job that should have succeeded has not."""


def rayhpc_once(user: User, nodes: int) -> tuple[float, float]:
    """Seconds to the first line, and from the last one to the end, of one job."""
    step = ["srun", "--mpi=none", f"--nodes={nodes}", f"--ntasks={nodes}", "--cpus-per-task=2"]
    return _timed(user, nodes, [*step, "rayhpc", "run", "--", "python", "program.py"])


def ray_once(user: User, nodes: int, venv: Path) -> tuple[float, float]:
    """The same with Ray's recipe."""
    script = (
        f"PATH={venv}/bin:$PATH; exec ray symmetric-run --address {user.cluster.names[0]}:{_PORT} "
        f"--min-nodes {nodes} --num-cpus=2 -- python program.py"
    )
    step = ["srun", "--mpi=none", f"--nodes={nodes}", f"--ntasks={nodes}", "--cpus-per-task=2"]
    return _timed(
        user, nodes, [*step, "bash", "-c", script], RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=""
    )


def engine_once(user: User, nodes: int, venv: Path) -> tuple[float, float]:
    """The same Ray, started by rayhpc."""
    step = ["srun", "--mpi=none", f"--nodes={nodes}", f"--ntasks={nodes}", "--cpus-per-task=2"]
    program = [str(venv / "bin" / "python"), "program.py"]
    return _timed(user, nodes, [*step, "rayhpc", "run", "--engine", "ray", "--", *program])


def dry_run_once(user: User) -> float:
    """Seconds that `rayhpc submit --dry-run` takes."""
    words = ["submit", "--scheduler", "slurm", "--dry-run", "--nodes", "8", "--", "true"]
    began = time.time()
    user.run(*RAYHPC, *words, check=True)
    return time.time() - began


def rows(lab: LabCluster, options: argparse.Namespace) -> Iterator[Row]:
    """Every row, as soon as it is measured."""
    user = User(lab, lab.home / "bench")
    user.write("program.py", PROGRAM)
    rayhpc_once(user, min(options.nodes))
    for nodes in options.nodes:
        found = [rayhpc_once(user, nodes) for _ in range(options.rounds)]
        yield _row("rayhpc run", nodes, found, GOALS.get(nodes), GOAL_END_S)
        if options.ray_venv is not None and nodes in options.ray_nodes:
            yield from ray_rows(user, nodes, options.ray_venv)
    took = statistics.median(dry_run_once(user) for _ in range(_DRY_RUNS))
    yield Row("rayhpc submit --dry-run", 8, took, goal=GOAL_DRY_RUN_S)


def ray_rows(user: User, nodes: int, venv: Path) -> Iterator[Row]:
    """The real Ray, by rayhpc and by its own recipe; not every start of the latter succeeds."""
    for name, once in ((_ENGINE, engine_once), (_RECIPE, ray_once)):
        try:
            yield _row(name, nodes, [once(user, nodes, venv)])
        except FailedError as error:
            print(error, file=sys.stderr)


def table(found: list[Row]) -> str:
    """As text, one line a row."""
    lines = [f"{'':26}{'nodes':>5}{'start':>9}{'goal':>9}{'end':>9}{'goal':>9}"]
    for row in found:
        numbers = (row.start, row.goal, row.end, row.goal_end)
        cells = ["" if each is None else f"{each:.2f} s" for each in numbers]
        late = "  missed" if row.missed else ""
        lines.append(
            f"{row.what:26}{row.nodes:5}{cells[0]:>9}{cells[1]:>9}{cells[2]:>9}{cells[3]:>9}{late}"
        )
    return "\n".join(lines)


def ratios(found: list[Row]) -> str:
    """How many times as long Ray's own recipe takes, one line for each number of nodes."""
    rows = {(row.what, row.nodes): row for row in found}
    lines = []
    for (what, nodes), recipe in rows.items():
        ours = rows.get((_ENGINE, nodes))
        if what == _RECIPE and ours is not None and ours.end and recipe.end:
            start, end = recipe.start / ours.start, recipe.end / ours.end
            lines.append(f"{_RECIPE} / {_ENGINE}, {nodes} nodes: start {start:.1f}, end {end:.1f}")
    return "\n".join(lines)


def _row(
    what: str,
    nodes: int,
    found: list[tuple[float, float]],
    goal: float | None = None,
    goal_end: float | None = None,
) -> Row:
    start, end = (statistics.median(each) for each in zip(*found, strict=True))
    return Row(what, nodes, start, end, goal, goal_end)


def _timed(user: User, nodes: int, command: list[str], **environ: str) -> tuple[float, float]:
    began = time.time()
    done = user.run(*command, timeout=_LIMIT_S, **environ)
    ended = time.time()
    lines = [line for line in done.stdout.splitlines() if line.replace(".", "").isdigit()]
    if done.returncode != 0 or len(lines) != 3 or lines[1] != str(nodes):
        said = (done.stdout + done.stderr)[-2000:]
        raise FailedError(f"{command} failed with {done.returncode}:\n{said}")
    return float(lines[0]) - began, ended - float(lines[2])


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=_numbers, default=[4, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray-venv", type=Path)
    parser.add_argument("--ray-nodes", type=_numbers, default=[4])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    compile_package()
    venvs = [sys.prefix, *([str(options.ray_venv.absolute())] if options.ray_venv else [])]
    # Ray's nodes each need a /tmp of their own.
    lab = LabCluster(
        max(options.nodes),
        SLURMLAB_PREFIX="bench",
        SLURMLAB_PRIVATE_TMP="1",
        SLURMLAB_SHARED=":".join(each for each in venvs if each.startswith("/tmp/")),
        SLURMLAB_EXPOSE=":".join(dict.fromkeys((sys.base_prefix, *venvs, str(ROOT)))),
    )
    try:
        found = []
        for row in rows(lab, options):
            found.append(row)
            print(table([row]).splitlines()[1], file=sys.stderr, flush=True)
    finally:
        lab.close()
    if options.json:
        print(json.dumps(msgspec.to_builtins(found)))
    else:
        print(table(found), ratios(found), sep="\n")
    raise SystemExit(any(row.missed for row in found))


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"no end within {error.timeout:g} s: {error.cmd}") from None
