"""Everything that sizing and `doctor` need to know about this machine, read in one go.

Only `read_machine` looks at the machine; the tables of `allocation` are pure functions of its
result and of the environment, so tests can supply both.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rayhpc.machine.affinity import CpuSet, online_cpus, usable_cpus
from rayhpc.machine.cgroups import CgroupLimits, read_cgroups
from rayhpc.machine.gpus import GpuDevices, Gpus, read_devices, visible_gpus
from rayhpc.machine.memory import Memory, read_memory


@dataclass(frozen=True)
class MachineFacts:
    """This machine as this process sees it."""

    hostname: str
    online_cpus: int
    affinity: CpuSet
    memory: Memory
    cgroup: CgroupLimits = field(default_factory=lambda: CgroupLimits("none"))
    devices: GpuDevices = field(default_factory=GpuDevices)
    gpus: Gpus = field(default_factory=Gpus)


def read_machine(environ: Mapping[str, str], root: Path = Path("/")) -> MachineFacts:
    """Look at this machine now; `root` is the directory above /proc, /sys and /dev."""
    devices = read_devices(root)
    return MachineFacts(
        hostname=socket.gethostname(),
        online_cpus=online_cpus(),
        affinity=usable_cpus(),
        memory=read_memory(root),
        cgroup=read_cgroups(root),
        devices=devices,
        gpus=visible_gpus(environ, devices),
    )
