"""Why YARN gives no further container, in words, from what its answers tell an ApplicationMaster.

Used by `loop` for ranks that are pending.
"""

from __future__ import annotations

from rayhpc.hadoop.resources import Size


def why_pending(wanted: Size, queue: str, left: Size | None, hosts: int, used: int) -> str:
    """One sentence; without figures that change while nothing happens here.

    Args:
        wanted: the size of a container.
        queue: the application's.
        left: what YARN's limits for the queue and its user leave to this application.
        hosts: how many nodes the cluster has.
        used: on how many of them this application has a container.
    """
    size = f"{wanted.memory_mib} MiB and {wanted.vcores} vcores"
    if wanted.gpus:
        size = f"{wanted.memory_mib} MiB, {wanted.vcores} vcores and {wanted.gpus} GPUs"
    # Vcores are not compared: most schedulers do not count them and say anything.
    if left is not None and left.memory_mib < wanted.memory_mib:
        return f"YARN's limits for queue {queue} and its user leave no room for {size}"
    if hosts and used >= hosts:
        return (
            f"the cluster has {hosts} nodes, and this application has a container on each: it uses "
            "one on a host"
        )
    return f"YARN has given queue {queue} no container of {size} yet"
