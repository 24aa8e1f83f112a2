"""Kills a worker before the kernel kills something more valuable for lack of memory.

Called by `node` a few times a second.  Compares usage with limits: the control group's if it has a
limit, else the machine's, and what the launcher gave this node.  Kills nothing itself: it names a
worker and the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rayhpc.machine.cgroups import read_cgroups
from rayhpc.machine.memory import read_memory
from rayhpc.raylet.workers import ACTOR, LEASED, WorkerProcess

THRESHOLD = 0.95
RELAXED_EVERY_S = 0.25
TENSE_EVERY_S = 0.05
# Near the limit it checks more often; after a kill it waits for the memory to be freed.
_TENSE_FROM = 0.8
_SETTLE_S = 1.0
# Only a worker with these shares of the largest one's memory and of the limit is worth killing.
_WORTH = 0.25
_WORTH_OF_LIMIT = 0.01
_SHOWN = 8
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class Pressure:
    """Bytes used, the limit, and its source."""

    used: int
    limit: int
    source: str

    @property
    def share(self) -> float:
        """The share of the limit in use."""
        return self.used / self.limit if self.limit else 0.0


class MemoryMonitor:
    """Watches one node's memory.

    Args:
        read: returns all limits and what counts against each, the narrowest last.
        private: the private bytes of a process.
        now: the time in seconds, monotonic.

    Attributes:
        ours: the narrowest of all limits at the last look: what this node was given, where it was
            given a part of its machine.  Nothing before the first look.
    """

    def __init__(
        self,
        read: Callable[[], list[Pressure]],
        private: Callable[[int], int],
        now: Callable[[], float],
    ) -> None:
        self._read = read
        self._private = private
        self._now = now
        self._next = now() + RELAXED_EVERY_S
        self.ours = Pressure(0, 0, "")

    def deadline(self) -> float:
        """When `look` must be called."""
        return self._next

    def look(self, workers: list[WorkerProcess]) -> tuple[WorkerProcess, str] | None:
        """The worker to kill, and why; None: there is enough memory, or it is not time yet."""
        now = self._now()
        if now < self._next:
            return None
        found = self._read()
        if found:
            self.ours = found[-1]
        worst = max(found, key=lambda x: x.share, default=Pressure(0, 0, ""))
        self._next = now + (TENSE_EVERY_S if worst.share > _TENSE_FROM else RELAXED_EVERY_S)
        if worst.share <= THRESHOLD:
            return None
        sizes = {x: self._private(x.pid) for x in workers if x.pid}
        victim = choose_victim(sizes, int(worst.limit * _WORTH_OF_LIMIT))
        if victim is None:
            return None
        self._next = now + _SETTLE_S
        return victim, _in_words(worst, victim, sizes)


def choose_victim(sizes: dict[WorkerProcess, int], least: int) -> WorkerProcess | None:
    """The newest large worker that runs a task; actors only if there is none.

    A worker with less than `least` bytes is never chosen: killing it would not help.
    """
    usable = [x for x in sizes if x.state in (LEASED, ACTOR)]
    largest = max((sizes[x] for x in usable), default=0)
    large = [x for x in usable if sizes[x] >= max(least, _WORTH * largest)]
    tasks = [x for x in large if x.state == LEASED]
    return max(tasks or large, key=lambda x: x.lease, default=None)


class Readings:
    """The sources of the figures.

    Args:
        limit: bytes that this node's processes may use together; 0: no limit of ours.
        pids: the processes that count towards it.
        shared: bytes of the object store in use.
        counts_shared: shared memory counts once for each process, as YARN counts.
    """

    def __init__(
        self,
        limit: int,
        pids: Callable[[], list[int]],
        shared: Callable[[], int],
        counts_shared: bool = False,
    ) -> None:
        self._limit = limit
        self._pids = pids
        self._shared = shared
        self._counts_shared = counts_shared
        found = read_cgroups().memory_limit
        self._cgroup_limit = int(found.value) if found is not None else 0
        self._cgroup = Path(found.path).parent if found is not None else None

    def read(self) -> list[Pressure]:
        """Everything that could be short."""
        found = []
        if self._cgroup is not None:
            used = _cgroup_use(self._cgroup)
            found.append(Pressure(used, self._cgroup_limit, "the control group's limit"))
        else:
            memory = read_memory()
            found.append(Pressure(memory.total - memory.available, memory.total, "the machine"))
        if self._limit and self._counts_shared:
            used = sum(_resident_bytes(pid, mapped=True) for pid in self._pids())
            source = "what YARN gave this node and counts, shared memory once for each process"
            found.append(Pressure(used, self._limit, source))
        elif self._limit:
            found.append(Pressure(self._ours(), self._limit, "what this node was given"))
        return found

    def _ours(self) -> int:
        """What our processes use: a quick upper bound, and the exact figure when it matters."""
        pids, shared = self._pids(), self._shared()
        used = sum(_resident_bytes(pid) for pid in pids) + shared
        if used > self._limit * _TENSE_FROM:
            used = sum(private_bytes(pid) for pid in pids) + shared
        return used


def private_bytes(pid: int) -> int:
    """Memory that only this process uses; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            lines = [line.split() for line in file if line.startswith("Private_")]
        return sum(int(fields[1]) for fields in lines) * 1024
    except (OSError, IndexError, ValueError):
        return _resident_bytes(pid)  # an old kernel


def _resident_bytes(pid: int, mapped: bool = False) -> int:
    """Resident memory, of `mapped` files or not; memory shared after a fork counts repeatedly."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            fields = file.read().split()
        return (int(fields[1]) - (0 if mapped else int(fields[2]))) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _cgroup_use(folder: Path) -> int:
    """What a control group uses and cannot free at once (page cache can be freed)."""
    used = 0
    for name in ("memory.current", "memory.usage_in_bytes"):
        try:
            used = int((folder / name).read_text())
            break
        except (OSError, ValueError):
            continue
    try:
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return max(0, used - int(value))
    except (OSError, ValueError):
        pass
    return used


def _in_words(worst: Pressure, victim: WorkerProcess, sizes: dict[WorkerProcess, int]) -> str:
    top = sorted(sizes.items(), key=lambda item: -item[1])[:_SHOWN]
    table = "\n".join(f"  {x.pid:>8}  {_gib(size):>9}  {x.name or x.state}" for x, size in top)
    return (
        f"it was ended because memory ran short: {_gib(worst.used)} of {_gib(worst.limit)} "
        f"({worst.source}) were used, {_gib(sizes[victim])} by this worker. The largest workers "
        f"(pid, private memory, what):\n{table}\n"
        "Give tasks more CPUs each so that fewer run at a time, or ask for memory=…"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
