"""The limits of this process's own control groups (cgroup v1, v2 and hybrid).

Read when a node is sized and, for memory, while it runs.  A limit may be set at any level, so
every reader walks from the process's own group up to the root of what is mounted here.  Never
writes, and never looks at another process's groups.  Formats: cgroups(7), cpuset(7), and the
kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rayhpc.machine.affinity import CpuSet, parse_cpu_list
from rayhpc.machine.mounts import Mount, read_mounts

# v1 writes "no limit" as the largest page-aligned number; anything close to it means the same.
_NO_LIMIT = 1 << 60
# The kernel's numbers have 64 bits.
_DIGITS = 21


@dataclass(frozen=True)
class Limit:
    """A number set by a group, and the file that contains it."""

    value: float
    path: str


@dataclass(frozen=True)
class CgroupLimits:
    """The tightest limits over all parents; None if there is no limit.

    `cpu_quota` is in processors (1.5 is one and a half), memory in bytes, `pids` in threads.
    `memory_current` is the current usage of the group with the tightest memory limit.
    """

    version: str
    cpu_quota: Limit | None = None
    cpuset: CpuSet | None = None
    cpuset_path: str = ""
    memory_limit: Limit | None = None
    memory_current: int | None = None
    pids: Limit | None = None


def read_cgroups(root: Path = Path("/")) -> CgroupLimits:
    """The limits of this process's own groups; `root` is the directory above /proc and /sys."""
    chains = _Chains(root)
    cpuset, cpuset_path = _cpuset(chains)
    memory, current = _memory(chains)
    return CgroupLimits(
        version=chains.version,
        cpu_quota=_cpu_quota(chains),
        cpuset=cpuset,
        cpuset_path=cpuset_path,
        memory_limit=memory,
        memory_current=current,
        pids=_least(_numbers(chains.of("pids"), "pids.max")),
    )


class _Chains:
    """The directories of our groups per controller, from our own group up to the mount root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mounts = [m for m in read_mounts(root) if m.fstype in ("cgroup", "cgroup2")]
        self._groups = _own_groups(root)

    @property
    def version(self) -> str:
        """`v1`, `v2`, `v1+v2` (hybrid) or `none`."""
        types = {mount.fstype for mount in self._mounts}
        names = [name for name, fstype in (("v1", "cgroup"), ("v2", "cgroup2")) if fstype in types]
        return "+".join(names) or "none"

    def of(self, controller: str) -> list[Path]:
        """The chain in the v1 hierarchy that has `controller`, otherwise in the unified one."""
        for mount in self._mounts:
            if mount.fstype == "cgroup" and controller in mount.options:
                return self._chain(mount, self._groups.get(controller))
        for mount in self._mounts:
            if mount.fstype == "cgroup2":
                return self._chain(mount, self._groups.get(""))
        return []

    def _chain(self, mount: Mount, group: str | None) -> list[Path]:
        top = self._root / mount.point.lstrip("/")
        if group is None:
            return []
        # In a container the mount may show only a subtree, and a group outside our cgroup
        # namespace reads as "/../..": then the mount's root is the closest one visible.
        relative = group
        if mount.root != "/" and (group + "/").startswith(mount.root + "/"):
            relative = group[len(mount.root) :]
        own = top / relative.strip("/")
        if ".." in relative.split("/") or not own.is_dir():
            return [top]
        chain = [own]
        while chain[-1] != top:
            chain.append(chain[-1].parent)
        return chain


def _own_groups(root: Path) -> dict[str, str]:
    """Controller name → group path; the unified hierarchy has the empty name."""
    groups: dict[str, str] = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            groups.update(dict.fromkeys(parts[1].split(","), parts[2]))
    return groups


def _cpu_quota(chains: _Chains) -> Limit | None:
    found: list[Limit] = []
    for directory in chains.of("cpu"):
        quota, period = _quota_of(directory)
        if quota > 0 and period > 0:
            name = "cpu.max" if (directory / "cpu.max").exists() else "cpu.cfs_quota_us"
            found.append(Limit(quota / period, str(directory / name)))
    return _least(found)


def _quota_of(directory: Path) -> tuple[int, int]:
    """Microseconds of processor time per period of microseconds; (-1, 0) without a quota."""
    v2 = (_read(directory / "cpu.max") or "").split()
    if len(v2) == 2:
        quota, period = _whole(v2[0]), _whole(v2[1])
    else:
        quota = _whole(_read(directory / "cpu.cfs_quota_us"))
        period = _whole(_read(directory / "cpu.cfs_period_us"))
    if quota is None or period is None or (v2 and len(v2) != 2):
        return -1, 0
    return quota, period


def _cpuset(chains: _Chains) -> tuple[CpuSet | None, str]:
    """The effective set of the closest group that has one; the kernel has applied the parents."""
    for directory in chains.of("cpuset"):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            text = _read(directory / name)
            if text:
                try:
                    return parse_cpu_list(text), str(directory / name)
                except ValueError:
                    continue  # not a list: treated as if the file were missing
    return None, ""


def _memory(chains: _Chains) -> tuple[Limit | None, int | None]:
    """The tightest limit, and the usage of the group that sets it."""
    best: tuple[Limit | None, int | None] = (None, None)
    for directory in chains.of("memory"):
        limit = _least(_memory_limits(directory))
        if limit is not None and (best[0] is None or limit.value < best[0].value):
            best = limit, _used(directory)
    return best


def _memory_limits(directory: Path) -> Iterator[Limit]:
    # memory.high does not kill, but beyond it the kernel slows the group to a crawl.
    yield from _numbers([directory], "memory.max", "memory.high", "memory.limit_in_bytes")
    # A container may not see its parents; v1 repeats their lowest limit in memory.stat.
    for line in (_read(directory / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        limit = _whole(value) if name == "hierarchical_memory_limit" else None
        if limit is not None and limit < _NO_LIMIT:
            yield Limit(limit, str(directory / "memory.stat"))


def _used(directory: Path) -> int | None:
    for name in ("memory.current", "memory.usage_in_bytes"):
        used = _whole(_read(directory / name))
        if used is not None:
            return used
    return None


def _numbers(directories: list[Path], *names: str) -> Iterator[Limit]:
    for directory in directories:
        for name in names:
            limit = _whole(_read(directory / name))
            if limit is not None and limit < _NO_LIMIT:
                yield Limit(limit, str(directory / name))


def _least(limits: Iterator[Limit] | list[Limit]) -> Limit | None:
    return min(limits, key=lambda limit: limit.value, default=None)


def _whole(text: str | None) -> int | None:
    """A non-negative integer; None for anything else."""
    digits = text is not None and text.isascii() and text.isdigit() and len(text) < _DIGITS
    return int(text) if digits and text is not None else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
