"""Made-up machines: trees of /proc and /sys as the kernel shows them, cgroup v1 and v2."""

from __future__ import annotations

from pathlib import Path

from rayhpc.machine.affinity import CpuSet
from rayhpc.machine.cgroups import read_cgroups
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.gpus import GpuDevices, visible_gpus
from rayhpc.machine.memory import Memory

GIB = 1 << 30
_V1 = ("cpu,cpuacct", "cpuset", "memory", "pids")


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write the files below `root`; returns it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def with_v2(root: Path, group: str, limits: dict[str, str]) -> Path:
    """A machine with the unified hierarchy; `limits` are files below the group tree's root."""
    mount = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
    own = {"proc/self/mountinfo": mount, "proc/self/cgroup": f"0::{group}"}
    (root / "sys/fs/cgroup" / group.lstrip("/")).mkdir(parents=True)
    return tree(root, {**own, **{f"sys/fs/cgroup/{name}": text for name, text in limits.items()}})


def with_v1(root: Path, group: str, limits: dict[str, str]) -> Path:
    """A machine with one hierarchy a controller; `limits` begin with the controller's folder."""
    mounts, groups = [], []
    for number, names in enumerate(_V1):
        where = f"/sys/fs/cgroup/{names}"
        mounts.append(f"{40 + number} 24 0:{30 + number} / {where} rw - cgroup cgroup rw,{names}")
        groups.append(f"{number + 2}:{names}:{group}")
        (root / where.lstrip("/") / group.lstrip("/")).mkdir(parents=True)
    own = {"proc/self/mountinfo": "\n".join(mounts), "proc/self/cgroup": "\n".join(groups)}
    return tree(root, {**own, **{f"sys/fs/cgroup/{name}": text for name, text in limits.items()}})


def machine(
    environ: dict[str, str],
    root: Path | None = None,
    *,
    online: int = 128,
    affinity: CpuSet | None = None,
    memory: int = 512 * GIB,
    gpus: int = 0,
) -> MachineFacts:
    """A node of a cluster as one process sees it; `root` has its control groups."""
    devices = GpuDevices("cuda", gpus, "/dev/nvidia*") if gpus else GpuDevices()
    facts = MachineFacts(
        hostname="node1",
        online_cpus=online,
        affinity=frozenset(range(online)) if affinity is None else affinity,
        memory=Memory(memory, memory),
        devices=devices,
        gpus=visible_gpus(environ, devices),
    )
    if root is None:
        return facts
    return MachineFacts(**{**vars(facts), "cgroup": read_cgroups(root)})
