"""The processors this process may run on.

Called when a node is sized, and by the first of several local ranks when it takes over its
siblings' processors.  Never reads cgroup files (`cgroups.py` does).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

CpuSet = frozenset[int]


def usable_cpus() -> CpuSet:
    """The processors in this process's affinity mask (all if there is no mask)."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(online_cpus()))


def online_cpus() -> int:
    """The number of processors online in the whole machine, at least 1."""
    return os.cpu_count() or 1


def take_cpus(cpus: Iterable[int]) -> CpuSet:
    """Request `cpus` and return what was actually granted.

    The kernel reduces the request to our cgroup's cpuset; if it refuses altogether the mask stays
    unchanged.
    """
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, set(cpus))
        except (OSError, ValueError):
            pass  # none of them is in our cpuset: keep what we have
    return usable_cpus()


# No kernel supports more processors; a longer list is invalid.
_MOST_CPUS = 1 << 16


def parse_cpu_list(text: str) -> CpuSet:
    """Decode the kernel's list format (`0-3,8,10-11`, cpuset(7)); an empty text is no processor.

    Raises ValueError for anything else.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        start, end = int(first), int(last or first)
        if end >= _MOST_CPUS:
            raise ValueError(f"{part!r} names more processors than a machine can have")
        cpus.update(range(start, end + 1))
    return frozenset(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Encode processors in the kernel's list format; the inverse of `parse_cpu_list`."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
