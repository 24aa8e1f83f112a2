"""`python -m tests.partitions.run`: real clusters of two and three hosts with a network in trouble.

    python -m tests.partitions.run [--only TEXT] [--slice 1/8] [--jobs 2]

Each host is a network namespace with a node of its own; a switch in user space joins them, and
cuts, loses and delays what it is told to.  Meanwhile a driver runs tasks, tasks that may run once,
calls of an actor, and large objects both ways, and checks every answer.  Prints a row for each
scenario; the exit code is 1 if anything was wrong or happened twice.  Takes ten minutes (a slice of
eight less than two); needs root.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.partitions.network import why_not
from tests.partitions.scenario import Outcome
from tests.partitions.scenarios import ALL

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 200
HEADER = (
    f"{'':52}{'answers':>8}{'errors':>8}{'wrong':>7}{'double':>8}{'resumes':>10}"
    f"{'longest':>10}{'nodes lost':>12}"
)


def run_one(name: str) -> Outcome:
    """Run a scenario in a process of its own.

    Raises:
        RuntimeError: it could not be run; has what it said.
    """
    command = [sys.executable, "-m", "tests.partitions.scenario", name]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr or done.stdout}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def row(name: str, outcome: Outcome) -> str:
    """One line of the table, and what is wrong below it."""
    resumes = "never" if outcome.resume_s < 0 else f"{outcome.resume_s:.2f} s"
    line = (
        f"{name:52}{outcome.right:8}{len(outcome.errors):8}{len(outcome.wrong):7}"
        f"{len(outcome.double):8}{resumes:>10}{outcome.longest_s:8.2f} s{outcome.nodes_lost:12}"
    )
    bad = [*outcome.wrong[:3], *outcome.double[:3]]
    return "\n".join([line, *(f"    {text.splitlines()[0]}" for text in bad)])


def main() -> int:
    """Run all that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--slice", default="1/1", help="K/N: the Kth of N parts of them")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    options = parser.parse_args()
    reason = why_not()
    if reason:
        print(reason)
        return 1
    number, _, parts = options.slice.partition("/")
    names = [name for name in ALL if options.only in name][int(number) - 1 :: int(parts)]
    print(HEADER, flush=True)
    good = True
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, outcome in zip(names, pool.map(run_one, names), strict=True):
            print(row(name, outcome), flush=True)
            good = good and outcome.is_good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
