"""The role of this rank: head, first rank of a node, or a rank that only lends its processors.

Called once by every rank of `rayhpc run`.  A pure function of the allocation: rank 0 becomes head
because the launcher says it is rank 0; there is no vote and no comparison of addresses.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from rayhpc.allocation.allocation import Allocation
from rayhpc.exit_codes import ExitCode, LaunchError

_UNFIT = re.compile(r"[^A-Za-z0-9_+-]")


@dataclass(frozen=True)
class Role:
    """This rank's role.

    `name` distinguishes this start of these ranks from every other: job, step and restart.  `node`
    counts nodes from 0, `nodes` is their number, `hosts` their names if the scheduler tells.
    """

    name: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    node: int
    nodes: int
    hosts: tuple[str, ...]

    @property
    def is_head(self) -> bool:
        """Whether the head and the driver run with this rank."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether this rank runs the node; other ranks on it wait."""
        return self.local_rank == 0

    def others(self, nodes: Collection[int]) -> list[str]:
        """The hosts of all nodes but these."""
        return [self.host(node) for node in range(self.nodes) if node not in nodes]

    def host(self, node: int) -> str:
        """The name of node number `node`, if the scheduler tells."""
        return self.hosts[node] if len(self.hosts) == self.nodes else f"node {node}"


def elect(allocation: Allocation) -> Role:
    """The role of the rank with this allocation.

    Raises:
        LaunchError: rank 0 is not the first rank of its node.
    """
    rank, local_rank = allocation.rank.value, allocation.local_rank.value
    if rank == 0 and local_rank != 0:
        raise LaunchError(
            f"rank 0 is rank {local_rank} of its node ({allocation.local_rank.source}); rayhpc "
            "needs it to be the first there: start ranks in order (for srun, no --distribution "
            "that shuffles them)",
            ExitCode.CONFIGURATION,
        )
    index = allocation.node_index.value
    local_size = max(1, allocation.local_size.value)
    return Role(
        name=_name(allocation),
        rank=rank,
        size=allocation.size.value,
        local_rank=local_rank,
        local_size=local_size,
        node=rank // local_size if index is None else index,
        nodes=_nodes(allocation, local_size),
        hosts=allocation.nodes.value,
    )


def _nodes(allocation: Allocation, local_size: int) -> int:
    size = allocation.size.value
    known = allocation.num_nodes.value
    if known is not None and allocation.launcher.value != "mpiexec":
        return max(1, min(known, size))
    return max(1, -(-size // local_size))


def _name(allocation: Allocation) -> str:
    job = allocation.job_id.value or "local"
    step = allocation.step_id.value or "0"
    return f"{_UNFIT.sub('_', job)}.{_UNFIT.sub('_', step)}.{allocation.restart_count.value}"
