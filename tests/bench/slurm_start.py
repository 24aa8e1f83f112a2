"""How long a cluster on SLURM takes to start and to end, beside Ray's own way.

    python -m tests.bench.slurm_start                         4, 8 and 64 nodes of the lab
    python -m tests.bench.slurm_start --ray-venv DIR          and Ray's symmetric-run from DIR
    python -m tests.bench.slurm_start --nodes 4 --json

Needs root and SLURM's packages (see slurm/lab).  Prints seconds from `srun` to the program's first
line, and from its last line to the end of the job; of several runs the median.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from tests.slurm.lab_cluster import LabCluster, why_not
from tests.slurm.user import User

_PROGRAM = """
import time
print(time.time(), flush=True)
import {module} as ray
ray.init(address="auto")
f = ray.remote(lambda: 1)
assert sum(ray.get([f.remote() for _ in range(10)])) == 10
print(time.time(), flush=True)
"""


def measure(
    user: User, nodes: int, words: list[str], environ: dict[str, str]
) -> tuple[float, float]:
    """Seconds to the first line and from the last one.

    Raises SystemExit with what was printed if the job fails.
    """
    began = time.time()
    done = user.run(
        *("srun", "--quiet", f"--nodes={nodes}", f"--ntasks={nodes}", "--cpus-per-task=2", *words),
        timeout=400,
        **environ,
    )
    ended = time.time()
    stamps = [float(line) for line in done.stdout.split() if line.replace(".", "").isdigit()]
    if done.returncode != 0 or len(stamps) != 2:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return stamps[0] - began, ended - stamps[1]


def rows(user: User, nodes: int, runs: int, ray_venv: Path | None) -> list[dict[str, object]]:
    """One row for each way to start on that many nodes."""
    ways: dict[str, tuple[list[str], dict[str, str]]] = {
        "rayhpc run": (["rayhpc", "run", "--quiet", "--", "python", "rayhpc_program.py"], {})
    }
    if ray_venv is not None:
        ray = str(ray_venv / "bin" / "ray")
        python = str(ray_venv / "bin" / "python")
        ways["ray symmetric-run"] = (
            [
                *(ray, "symmetric-run", "--address", "node1:6379", "--min-nodes", str(nodes)),
                *("--num-cpus", "2", "--", python, "ray_program.py"),
            ],
            {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "PYTHONPATH": ""},
        )
    found: list[dict[str, object]] = []
    for name, (words, environ) in ways.items():
        times = [measure(user, nodes, words, environ) for _ in range(runs)]
        starts, ends = zip(*times, strict=True)
        found.append(
            {
                "way": name,
                "nodes": nodes,
                "start_s": round(statistics.median(starts), 2),
                "end_s": round(statistics.median(ends), 2),
            }
        )
    return found


def submit_seconds(user: User, runs: int) -> float:
    """How long `rayhpc submit --dry-run` takes."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        user.rayhpc("submit", "--scheduler", "slurm", "--dry-run", "--", "true", check=True)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times), 2)


@click.command()
@click.option("--nodes", multiple=True, type=int, default=(4, 8, 64), show_default=True)
@click.option("--runs", default=3, show_default=True, help="Of each the median.")
@click.option("--ray-venv", type=click.Path(path_type=Path), help="A virtual environment with Ray.")
@click.option("--json", "as_json", is_flag=True)
def main(nodes: tuple[int, ...], runs: int, ray_venv: Path | None, as_json: bool) -> None:
    """Measure on the lab."""
    reason = why_not()
    if reason:
        sys.exit(reason)
    table: list[dict[str, object]] = []
    shared = "" if ray_venv is None else str(ray_venv)
    for count in nodes:
        # Ray cannot start where nodes share a /tmp.
        cluster = LabCluster(count, SLURMLAB_PRIVATE_TMP="1", SLURMLAB_SHARED=shared)
        try:
            user = User(cluster, cluster.home / "bench")
            for module in ("rayhpc", "ray"):
                user.write(f"{module}_program.py", _PROGRAM.format(module=module))
            table += rows(user, count, runs, ray_venv)
            dry_run = submit_seconds(user, runs)
        finally:
            cluster.close()
    if as_json:
        click.echo(json.dumps({"rows": table, "dry_run_s": dry_run}, indent=2))
        return
    click.echo(f"{'':20}{'nodes':>6}{'srun to first line':>20}{'last line to end':>18}")
    for row in table:
        click.echo(f"{row['way']:20}{row['nodes']:>6}{row['start_s']:>18} s{row['end_s']:>16} s")
    click.echo(f"rayhpc submit --dry-run: {dry_run} s")


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        sys.exit(f"{error.cmd} did not end")
