"""From `rayhpc submit` to a program's first line on many nodes of this machine.

    python -m tests.bench.local_start [--nodes 64] [--rounds 3] [--json]

All nodes are started at once and share this machine's processors, so that this is the CPU time of a
node's start, times their number.  Each number is the median of the rounds; a row that misses its
goal says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from tests.bench.compiled import compile_package

GOAL_S = 12.0
_PROGRAM = "import time; print(time.time())"
_SUBMIT = (sys.executable, "-m", "rayhpc.cli.main", "submit", "--scheduler", "local")


def once(nodes: int, folder: str) -> tuple[float, float]:
    """Seconds to the program's first line, and from there to the command's end."""
    job = ["--job-dir", folder, "--nodes", str(nodes), "--cpus-per-node", "1"]
    command = [*_SUBMIT, *job, "--", sys.executable, "-c", _PROGRAM]
    began = time.time()
    environ = {**os.environ, "HOME": folder}
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    ended = time.time()
    if done.returncode:
        raise SystemExit(f"{command} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    line = float(done.stdout.split()[0])
    return line - began, ended - line


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compile_package()
    with tempfile.TemporaryDirectory(prefix="local-bench-") as folder:
        found = [once(options.nodes, folder) for _ in range(options.rounds)]
    start, end = (statistics.median(each) for each in zip(*found, strict=True))
    late = options.nodes == 64 and start > GOAL_S
    if options.json:
        print(json.dumps({"nodes": options.nodes, "start": start, "end": end, "goal": GOAL_S}))
    else:
        print(f"{options.nodes} nodes: start {start:.2f} s, end {end:.2f} s" + "  missed" * late)
    raise SystemExit(late)


if __name__ == "__main__":
    main()
