"""What the system lets one user open, start and lock, and whether a plan fits within that.

Called once when a node starts, and by `rayhpc doctor`.  Changes nothing except to raise a soft
limit of this process towards the hard one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rayhpc.machine.cgroups import CgroupLimits

# More gains nothing, and slows programs that walk all descriptors up to the limit.
MOST_USEFUL_NOFILE = 1 << 20

# The minimum a node needs: workers, connections, BLAS.
DESCRIPTORS = 1024
THREADS_PER_CPU = 32


@dataclass(frozen=True)
class LimitPair:
    """Soft and hard value of one resource limit (getrlimit(2)); None is unlimited."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True)
class Limits:
    """Descriptors, this user's threads on the node, and lockable bytes; `pids` is the cgroup's."""

    nofile: LimitPair
    nproc: LimitPair
    memlock: LimitPair
    pids: int | None = None

    @property
    def threads(self) -> int | None:
        """The most threads we can have: the lower of nproc and the cgroup's limit."""
        known = [number for number in (self.nproc.soft, self.pids) if number is not None]
        return min(known, default=None)


def read_limits(cgroup: CgroupLimits | None = None) -> Limits:
    """The limits of this process."""
    pids = int(cgroup.pids.value) if cgroup is not None and cgroup.pids is not None else None
    return Limits(_pair("NOFILE"), _pair("NPROC"), _pair("MEMLOCK"), pids)


def raise_nofile() -> LimitPair:
    """Raise the soft limit of descriptors to the hard one; returns the limits now in effect."""
    before = _pair("NOFILE")
    hard = MOST_USEFUL_NOFILE if before.hard is None else before.hard
    wanted = min(hard, MOST_USEFUL_NOFILE)
    if sys.platform != "win32" and before.soft is not None and before.soft < wanted:
        import resource

        top = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, top))
    return _pair("NOFILE")


def descriptors_for(each: int, *, reserved: int, most: int) -> int:
    """How many things needing `each` descriptors this process may have, at least 1.

    Args:
        each: descriptors per thing.
        reserved: descriptors kept for everything else; a tenth of the limit is kept, too.
        most: the upper bound.
    """
    soft = _pair("NOFILE").soft
    if soft is None:
        return most
    return max(1, min(most, (soft - soft // 10 - reserved) // each))


def check_budget(limits: Limits, *, descriptors: int, threads: int) -> list[str]:
    """What does not fit, one sentence with a remedy each; empty if everything fits.

    `descriptors` is what the most demanding process needs, `threads` what all of ours on this node
    need together.  Threads that the user already has elsewhere on the node are unknown.
    """
    problems = []
    if limits.nofile.hard is not None and limits.nofile.hard < descriptors:
        problems.append(
            f"{descriptors} open files are needed, the hard limit is {limits.nofile.hard}: "
            "ask for more (ulimit -Hn) or start fewer workers (--num-cpus)"
        )
    if limits.nproc.soft is not None and limits.nproc.soft < threads:
        problems.append(
            f"{threads} threads are needed, this user may have {limits.nproc.soft}: raise "
            "`ulimit -u` or start fewer workers (--num-cpus)"
        )
    if limits.pids is not None and limits.pids < threads:
        problems.append(
            f"{threads} threads are needed, the job's control group allows {limits.pids}: "
            "ask for more processors per node or start fewer workers (--num-cpus)"
        )
    return problems


def _pair(name: str) -> LimitPair:
    if sys.platform == "win32":
        return LimitPair(None, None)
    import resource

    soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    infinite = resource.RLIM_INFINITY
    return LimitPair(None if soft == infinite else soft, None if hard == infinite else hard)
