"""The rows of `rayhpc microbenchmark` on the real Ray and on rayhpc, turn about, in one run.

    python -m tests.bench.vs_ray --ray-python RAY_VENV/bin/python [--seconds 0.5] [--json FILE]

RAY_VENV is a virtual environment with Ray and numpy (pip install "ray[default]" numpy); it need not
have rayhpc.  Each group of rows runs on the one and then on the other, so that what else
the machine does meanwhile disturbs both.  The group "between" has two nodes, and beside its rows
what the wire gave just before them (`wire_limits`).  Prints row, Ray, rayhpc, how many times better
rayhpc is, and the geometric mean of that over all rates.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rayhpc" / "util" / "microbenchmark"
NAME = "microbenchmark_rows"
BETWEEN = "between"
SMALL_IS_GOOD = ("s", "ms", "MiB")


def main() -> None:
    """Parse the command line; be the run of both, or one side of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Verbatim)
    parser.add_argument("--ray-python", help="the interpreter of the environment with Ray")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each row")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--groups", default="start,tasks,actors,objects,between")
    parser.add_argument("--side", choices=("ray", "rayhpc"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        measure(given)
    elif not given.ray_python:
        parser.error("--ray-python: which interpreter has the real Ray?")
    else:
        compare(given)


class _Verbatim(argparse.RawDescriptionHelpFormatter):
    """The docstring as it is written."""


def compare(given: argparse.Namespace) -> None:
    """Run both, group by group, and print the table."""
    found: dict[str, dict[str, Any]] = {}
    print(f"{'':<45} {'Ray':>12} {'rayhpc':>12} {'':<10}{'ratio':>9}", flush=True)
    for group in given.groups.split(","):
        if group == BETWEEN:
            for name, value in _between_nodes().limits().items():
                print(f"{'limit: ' + name:<45} {'':>12} {value:>12,.2f} GB/s", flush=True)
        sides = {"ray": run(given, "ray", group), "rayhpc": run(given, "rayhpc", group)}
        for row in sides["rayhpc"]:
            other = next((x for x in sides["ray"] if x["name"] == row["name"]), None)
            found[row["name"]] = {"unit": row["unit"], "rayhpc": row, "ray": other}
            print(line(row, other), flush=True)
    ratios = [r for x in found.values() if (r := ratio(x["rayhpc"], x["ray"])) is not None]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 0.0
    print(f"geometric mean of {len(ratios)} rows: {mean:.1f}")
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=2))


def ratio(row: dict[str, Any], other: dict[str, Any] | None) -> float | None:
    """How many times better rayhpc is."""
    if other is None or not other["value"] or not row["value"]:
        return None
    small = row["unit"] in SMALL_IS_GOOD
    better: float = other["value"] / row["value"] if small else row["value"] / other["value"]
    return better


def line(row: dict[str, Any], other: dict[str, Any] | None) -> str:
    """One row of the table."""
    theirs = "" if other is None else f"{other['value']:,.2f}"
    better = ratio(row, other)
    shown = "" if better is None else f"{better:,.1f}x"
    return f"{row['name']:<45} {theirs:>12} {row['value']:>12,.2f} {row['unit']:<10}{shown:>9}"


def run(given: argparse.Namespace, side: str, group: str) -> list[dict[str, Any]]:
    """Measure one group on one side, in a process of its own."""
    python = given.ray_python if side == "ray" else sys.executable
    command = [python, __file__, "--side", side, "--groups", group, "--only", given.only]
    command += ["--seconds", str(given.seconds), "--workers", str(given.workers)]
    environ = {**os.environ, "RAY_DEDUP_LOGS": "0"}
    if side == "rayhpc":
        environ["PYTHONPATH"] = str(ROOT)
    else:
        environ.pop("PYTHONPATH", None)
    done = subprocess.run(command, stdout=-1, env=environ, check=False, text=True, timeout=1200)
    rows = [json.loads(x[1:]) for x in done.stdout.splitlines() if x.startswith("\x01")]
    if done.returncode:
        print(f"{side}: group {group} ended with {done.returncode}", file=sys.stderr)
    return rows


def measure(given: argparse.Namespace) -> None:
    """One side: measure, and print each row as JSON behind a mark, for `run` to read."""
    ray = importlib.import_module(given.side)
    rows, between = _rows_for(given.side, ray)
    setting = importlib.import_module(f"{NAME}.measuring").Setting(
        ray, given.workers, given.seconds, given.only, has_pool=False
    )
    groups = given.groups.split(",")
    found = between.rows(setting) if groups == [BETWEEN] else rows.all_rows(setting, groups)
    for row in found:
        print("\x01" + json.dumps(vars(row)), flush=True)


def _rows_for(side: str, ray: Any) -> tuple[Any, Any]:
    """The modules of rows by themselves, for interpreters without rayhpc; code goes by value."""
    _load(NAME, PACKAGE / "__init__.py", [str(PACKAGE)])
    between = _between_nodes()
    rows = importlib.import_module(f"{NAME}.rows")
    pickler = importlib.import_module("ray.cloudpickle" if side == "ray" else "cloudpickle")
    for module in (importlib.import_module(f"{NAME}.remote_code"), between):
        pickler.register_pickle_by_value(module)
    return rows, between


def _between_nodes() -> Any:
    return _load("between_nodes", ROOT / "tests" / "bench" / "between_nodes.py")


def _load(name: str, path: Path, folders: list[str] | None = None) -> Any:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
