"""What is legal but surely not what the user wanted, in sentences with a remedy.

Shown by `doctor` and, once, when a cluster starts.  Never changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.sizing import NodeSize


def advice(environ: Mapping[str, str], allocation: Allocation, size: NodeSize) -> list[str]:
    """Warnings about this allocation as it was used for `size`; empty if all is well."""
    found = (_small_step(allocation, size), _no_gpus(allocation), _shared_uid(environ, allocation))
    return [sentence for sentence in found if sentence]


def _small_step(allocation: Allocation, size: NodeSize) -> str | None:
    """Since 22.05 srun does not take --cpus-per-task from sbatch, so a step may get one."""
    alone = allocation.local_size.value == 1
    if allocation.launcher.value != "srun" or not alone or size.cpus.source == "--num-cpus":
        return None
    offered = [each for each in allocation.cpus.candidates if each.value is not None]
    most = max(offered, key=lambda each: int(each.value), default=None)
    if most is None or size.cpus.value >= most.value:
        return None
    return (
        f"this step uses {size.cpus.value} of {most.value} CPUs ({size.cpus.source} against "
        f"{most.source}): export SRUN_CPUS_PER_TASK={most.value} before srun, or give it "
        f"--cpus-per-task={most.value}"
    )


def _no_gpus(allocation: Allocation) -> str | None:
    unused = [each for each in allocation.gpus.others if len(each.value)]
    if allocation.gpus.value.ids or not unused:
        return None
    return (
        f"{len(unused[0].value)} GPUs are visible here ({unused[0].source}), but "
        f"{allocation.gpus.source}: ask for them (--gpus-per-node), or pass --num-gpus"
    )


def _shared_uid(environ: Mapping[str, str], allocation: Allocation) -> str | None:
    """Without LinuxContainerExecutor every YARN user runs as the node manager's uid."""
    owner = _user_name()
    user = environ.get("USER", owner)
    if allocation.scheduler.value != "yarn" or user == owner:
        return None
    return (
        f"this container of {user} runs as {owner}, as may those of all other users: files and "
        "local sockets here are not protected from them by their owner"
    )


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
