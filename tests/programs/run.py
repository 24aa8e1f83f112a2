"""`python -m tests.programs.run --programs N [--seed S]`: programs made at random, on real nodes.

Each is carried out on a cluster of some nodes of this machine and, beside it, without one; the
values at its end must be equal.  Prints what went wrong with the seed that shows it again; the
exit code is 1 if anything was wrong or hung.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.exceptions import ActorDiedError, GetTimeoutError, TaskCancelledError
from tests.chaos.run import show_what_waits
from tests.programs import plain
from tests.programs import steps as s
from tests.programs.cluster import OnCluster, resolve
from tests.programs.generate import program
from tests.programs.values import digest

# A program that takes longer hangs: it has at most some hundred short tasks.
HANGS_AFTER_S = 90.0


@dataclass
class Report:
    """What became of some programs."""

    programs: int = 0
    steps: int = 0
    wrong: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.programs > 0 and not self.wrong and not self.hangs

    def __str__(self) -> str:
        first = (
            f"{self.programs} programs, {self.steps} steps, {self.seconds:.0f} s: "
            f"{len(self.wrong)} wrong, {len(self.hangs)} hangs"
        )
        return "\n".join([first, *self.wrong, *self.hangs])


def run(first: int, count: int, nodes: int = 4, cpus: int = 2, *, fresh: bool = False) -> Report:
    """Programs of the seeds from `first` on, on one cluster.

    Args:
        first: the first seed.
        count: how many programs.
        nodes: nodes of the cluster.
        cpus: CPUs of each.
        fresh: leave the cluster and join it again before each program.
    """
    report = Report()
    start = time.monotonic()
    cluster = Cluster()
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus, object_store_memory=200 * 1024 * 1024)
        for seed in range(first, first + count):
            if fresh or not ray.is_initialized():
                ray.shutdown()
                ray.init(address=cluster.address, log_to_driver=False)
            _one(seed, report)
            if report.hangs:
                break
    finally:
        ray.shutdown()
        cluster.shutdown()
    report.seconds = time.monotonic() - start
    return report


def _one(seed: int, report: Report) -> None:
    made = program(seed)
    report.programs += 1
    report.steps += len(made.steps)
    found: list[str] = []
    thread = threading.Thread(target=_compare, args=(made, found), daemon=True)
    thread.start()
    thread.join(HANGS_AFTER_S)
    if thread.is_alive():
        faulthandler.dump_traceback(all_threads=True)
        show_what_waits()
        report.hangs.append(f"seed {seed}: still running after {HANGS_AFTER_S:.0f} s")
    report.wrong += [f"seed {seed}: {text}" for text in found]


def _compare(made: s.Program, found: list[str]) -> None:
    try:
        expected = plain.Plain()
        expected.run(made.steps)
        with tempfile.TemporaryDirectory() as folder:
            actual = OnCluster(folder)
            actual.run(made.steps)
            for slot in made.checked:
                text = _difference(expected.slots[slot], actual.slots[slot])
                if text:
                    found.append(f"slot {slot}: {text}")
            for actor in made.actors:
                total = ray.get(actual.actors[actor].total.remote(), timeout=60)
                if total != expected.totals[actor]:
                    found.append(f"actor {actor} has {total}, not {expected.totals[actor]}")
    except BaseException:
        found.append(traceback.format_exc())


def _difference(expected: Any, ref: Any) -> str:
    """What is wrong with a slot; "" if nothing is."""
    try:
        value = resolve(ray.get(ref, timeout=60))
    except GetTimeoutError as error:
        return f"never came: {error}"
    except Exception as error:
        text = traceback.format_exc()
        return "" if _is_expected(error, expected) else f"{text[-2000:]} for {expected!r:.80}"
    if isinstance(expected, plain.Failure):
        return f"{value!r:.80}, and should have failed with {expected}"
    return "" if digest(value) == digest(expected) else f"{value!r:.80} is not {expected!r:.80}"


def _is_expected(error: BaseException, expected: Any) -> bool:
    if not isinstance(expected, plain.Failure):
        return False
    kinds = {plain.CANCELLED: TaskCancelledError, plain.ACTOR_DIED: ActorDiedError}
    text = str(error)
    for cause in expected.causes:
        kind = kinds.get(cause)
        if cause in text or (kind and (isinstance(error, kind) or kind.__name__ in text)):
            return True
    return False


def main() -> int:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--fresh", action="store_true", help="join the cluster anew each time")
    options = parser.parse_args()
    report = run(options.seed, options.programs, options.nodes, fresh=options.fresh)
    print(report)
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
