"""`python -m tests.chaos.run --seconds N [--seed S]`: programs with known answers under fire.

A cluster of three nodes on this machine runs all of `workloads` at once, round after round, while
`killer` kills workers, templates and nodes.  Prints a table; the exit code is 1 if there was a
wrong answer, an error or a hang.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import rayhpc as ray
from rayhpc.launch.cluster import LocalCluster
from rayhpc.runtime.process import current
from rayhpc.wire.messages import cluster as cluster_messages
from rayhpc.wire.messages import listings
from tests.chaos import workloads
from tests.chaos.killer import NODE, Killer
from tests.launch.processes import left_of, wait_until_gone

# A round that takes longer hangs: without kills it takes well below a second.
HANGS_AFTER_S = 60.0


@dataclass
class Row:
    """What became of one workload."""

    rounds: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    hangs: bool = False
    longest_s: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.rounds > 0 and not (self.wrong or self.failed or self.hangs)


@dataclass
class Report:
    """A run's outcome."""

    seed: int
    rows: dict[str, Row]
    killed: dict[str, int]
    left: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return all(row.is_good for row in self.rows.values()) and not self.left

    def __str__(self) -> str:
        lines = [f"{'':20}{'rounds':>8}{'wrong':>8}{'errors':>8}{'hangs':>8}{'longest':>10}"]
        for name, row in self.rows.items():
            hangs = "yes" if row.hangs else "no"
            lines.append(
                f"{name:20}{row.rounds:8}{len(row.wrong):8}{len(row.failed):8}{hangs:>8}"
                f"{row.longest_s:8.1f} s"
            )
        killed = ", ".join(f"{count} {what}" for what, count in sorted(self.killed.items()))
        lines.append(f"killed: {killed or 'nobody'} (seed {self.seed})")
        lines.append(f"left behind: {', '.join(self.left) or 'nothing'}")
        for row in self.rows.values():
            lines += [*row.wrong[:3], *row.failed[:3]]
        return "\n".join(lines)


def run(seconds: float, seed: int, *, pause_s: float = 0.4, nodes: int = 3) -> Report:
    """Everything, once."""
    cluster = LocalCluster()
    try:
        for _ in range(nodes):
            cluster.add_node(NODE)
        ray.init(cluster.head.session_dir, log_to_driver=False, logging_level="ERROR")
        killer = Killer(cluster, seed, pause_s)
        report = _run(killer, seconds, seed)
    finally:
        ray.shutdown()
        cluster.shutdown()
    report.left = [
        *left_of(killer.seen),
        *(str(path) for path in wait_until_gone(killer.folders)),
    ]
    return report


def _run(killer: Killer, seconds: float, seed: int) -> Report:
    rows = {name: Row() for name in workloads.ALL}
    end = time.monotonic() + seconds
    threads = {
        name: threading.Thread(target=_rounds, args=(one, rows[name], end), daemon=True)
        for name, one in workloads.ALL.items()
    }
    killing = threading.Thread(target=killer.run)
    for thread in (*threads.values(), killing):
        thread.start()
    time.sleep(seconds)  # nothing to wait for: this is how long it takes
    killer.done.set()
    killing.join()
    for name, thread in threads.items():
        thread.join(max(0.0, end + HANGS_AFTER_S - time.monotonic()))
        rows[name].hangs = thread.is_alive()
    if any(row.hangs for row in rows.values()):
        show_what_waits()
    return Report(seed, rows, dict(killer.killed))


def _rounds(one: Callable[[int], None], row: Row, end: float) -> None:
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            one(row.rounds)
        except workloads.WrongAnswerError as error:
            row.wrong.append(str(error))
        except Exception:
            row.failed.append(traceback.format_exc())
        row.rounds += 1
        row.longest_s = max(row.longest_s, time.monotonic() - start)


def show_what_waits() -> None:
    """Print what this driver knows of its tasks, and what the raylets know of theirs."""
    client = current.client()
    core = client._core
    for queue in list(core.submitter._queues.values()):
        print(queue.wanted, "ready", len(queue.ready), "average", queue.average)
        print("  requests", queue.requests, "queued", queue.queued)
        for lease in list(queue.leases.values()):
            print(
                f"  lease {lease.grant.lease} on {lease.worker:x}: {len(lease.inflight)} in flight,"
                f" blocked {lease.blocked}, ended {lease.ended}, recalling {lease.recalling}"
            )
    for pending in list(core.submitter.unfinished())[:20]:
        print("  task", pending.name, pending.tid.hex(), "missing", pending.missing, pending.deps)
    for node in client.ask_head(cluster_messages.Nodes(), list[listings.NodeState]):
        print(node)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.4, help="seconds between kills")
    options = parser.parse_args()
    report = run(options.seconds, options.seed, pause_s=options.pause, nodes=options.nodes)
    print(report)
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
