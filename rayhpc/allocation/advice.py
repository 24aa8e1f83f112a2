"""Warnings about settings that are legal but surely unintended, each with a remedy.

Shown by `doctor` and, once, when a cluster starts, next to the batch system's own advice
(`BatchSystem.advice`).  Never changes anything.
"""

from __future__ import annotations

from rayhpc.allocation.allocation import Allocation


def advice(allocation: Allocation) -> list[str]:
    """Warnings about this allocation, whatever its batch system; empty if all is well."""
    unused = [each for each in allocation.gpus.others if len(each.value)]
    if allocation.gpus.value.ids or not unused:
        return []
    sentence = (
        f"{len(unused[0].value)} GPUs are visible here ({unused[0].source}), but "
        f"{allocation.gpus.source}: ask for them (--gpus-per-node), or pass --num-gpus"
    )
    return [sentence]
