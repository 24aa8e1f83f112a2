"""Which GPUs this process may use, and how to give some of them to a task.

Used when a node is sized and when a worker is given its GPUs.  Ids are opaque (index, UUID, MIG,
a Level Zero tile) and passed on exactly as found.  Never opens a device, never loads a vendor
library.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GpuKind = Literal["cuda", "rocm", "level_zero"]

# The variables that select devices of each kind, the one applied last first.  ROCr filters below
# HIP, so if both are set HIP's ids are positions in ROCr's list, and HIP's is the one to change
# (https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html).
VARIABLES: dict[GpuKind, tuple[str, ...]] = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    "level_zero": ("ZE_AFFINITY_MASK",),
}
# Also read by HIP and ROCm's OpenCL; if left in place they would select a second time.
_ROCM_ALIASES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
_NOTHING = frozenset({"nodevfiles", "none", "void", "(null)", "-1"})


@dataclass(frozen=True)
class Gpus:
    """GPUs by opaque id, in order; `variable` is the one that selects among them."""

    ids: tuple[str, ...] = ()
    kind: GpuKind = "cuda"
    variable: str = "CUDA_VISIBLE_DEVICES"
    source: str = "no GPU variable and no GPU device"

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class GpuDevices:
    """Physical GPUs that the kernel shows us and that we may open, by kind."""

    kind: GpuKind | None = None
    count: int = 0
    source: str = "no GPU device"


def visible_gpus(environ: Mapping[str, str], devices: GpuDevices) -> Gpus:
    """The GPUs that the environment names, or all devices if it names none.

    SLURM sets the variables of every vendor at once; then the kind of the devices actually present
    decides, or CUDA if there are none.
    """
    for kind in _kinds(devices):
        for variable in VARIABLES[kind]:
            if variable in environ:
                return Gpus(_split(environ[variable]), kind, variable, variable)
    if devices.kind is None:
        return Gpus()
    ids = tuple(str(index) for index in range(devices.count))
    return Gpus(ids, devices.kind, VARIABLES[devices.kind][-1], devices.source)


def read_devices(root: Path = Path("/")) -> GpuDevices:
    """Count the GPUs of this machine from /dev, /proc and /sys, without opening any."""
    nodes = _names(root / "dev", "nvidia")
    if nodes:
        # access(2) also checks the devices cgroup, so devices of other jobs are not counted.
        mine = [name for name in nodes if os.access(root / "dev" / name, os.R_OK | os.W_OK)]
        return GpuDevices("cuda", len(mine), "/dev/nvidia*")
    count = len(_entries(root / "proc/driver/nvidia/gpus"))
    if count:
        return GpuDevices("cuda", count, "/proc/driver/nvidia/gpus")
    topology = root / "sys/class/kfd/kfd/topology/nodes"
    count = sum(_is_amd_gpu(topology / name) for name in _entries(topology))
    if count:
        return GpuDevices("rocm", count, "/sys/class/kfd")
    return GpuDevices()


def task_environment(gpus: Gpus, ids: Iterable[str]) -> dict[str, str | None]:
    """The variables that give a process only `ids` of `gpus`; None means: remove it."""
    changes: dict[str, str | None] = {gpus.variable: ",".join(ids)}
    if gpus.kind == "rocm":
        changes.update(dict.fromkeys(_ROCM_ALIASES))
    return changes


def _kinds(devices: GpuDevices) -> list[GpuKind]:
    """All kinds, starting with that of the present hardware."""
    return sorted(VARIABLES, key=lambda kind: kind != devices.kind)


def _split(text: str) -> tuple[str, ...]:
    """The ids in a list; as in CUDA, everything after the first invalid one is ignored."""
    ids: list[str] = []
    for part in text.split(","):
        item = part.strip()
        if not item or item.lower() in _NOTHING:
            break
        ids.append(item)
    return tuple(ids)


def _names(directory: Path, prefix: str) -> list[str]:
    """Names that consist of `prefix` and a number."""
    names = [name for name in _entries(directory) if name.startswith(prefix)]
    return [name for name in names if name[len(prefix) :].isdigit()]


def _entries(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _is_amd_gpu(node: Path) -> bool:
    """Whether it is a GPU: CPUs are nodes of the same topology, with no SIMD units."""
    try:
        lines = (node / "properties").read_text(errors="replace").splitlines()
    except OSError:
        return False  # the kernel hides the properties of devices we may not use
    return any(line.startswith("simd_count ") and line != "simd_count 0" for line in lines)
