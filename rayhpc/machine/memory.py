"""How much memory this machine has, and how much of it is still available.

Used when a node is sized and by the raylet's memory monitor.  Does not decide how much of it is
ours: `allocation.sizing` does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rayhpc.machine.cgroups import CgroupLimits


@dataclass(frozen=True)
class Memory:
    """Bytes of the whole machine: installed, and available without swapping (proc_meminfo(5))."""

    total: int
    available: int


def read_memory(root: Path = Path("/")) -> Memory:
    """The machine's memory from /proc/meminfo, or from sysconf if that is missing."""
    fields: dict[str, int] = {}
    try:
        for line in (root / "proc/meminfo").read_text(errors="replace").splitlines():
            name, _, rest = line.partition(":")
            number = rest.split()
            if number and number[0].isascii() and number[0].isdigit() and len(number[0]) < 20:
                fields[name] = int(number[0]) * 1024
    except OSError:
        pass
    total = fields.get("MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Memory(total, fields.get("MemAvailable", fields.get("MemFree", total)))


def available_here(memory: Memory, cgroup: CgroupLimits) -> int:
    """Bytes this process's groups may still use: what is free, within the tightest limit."""
    if cgroup.memory_limit is None:
        return memory.available
    left = int(cgroup.memory_limit.value) - (cgroup.memory_current or 0)
    return max(0, min(memory.available, left))


def shared_memory_space(path: str = "/dev/shm") -> tuple[int, int]:
    """Total and free bytes of a tmpfs; (0, 0) if there is none."""
    try:
        space = os.statvfs(path)
    except OSError:
        return 0, 0
    return space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
