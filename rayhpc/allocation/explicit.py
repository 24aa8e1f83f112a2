"""What the user stated explicitly: `--rank` and `--size` override everything.

Each rank started this way is a node of its own.  Used by the `local` scheduler and by launchers
that rayhpc has no table for.
"""

from __future__ import annotations

from dataclasses import replace

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Candidate, Fact


def overlay(base: Allocation, rank: int | None, size: int | None) -> Allocation:
    """`base` with the given rank and size; unchanged if none is given.

    Raises ValueError if only one of them is given, or the rank does not exist.
    """
    if rank is None and size is None:
        return base
    if rank is None or size is None:
        raise ValueError("--rank and --size go together: give both or none")
    if size < 1 or not 0 <= rank < size:
        raise ValueError(f"--rank {rank} is not one of 0 to {size - 1}, as --size {size} says")
    return replace(
        base,
        launcher=Fact("explicit", "--rank", (Candidate(base.launcher.value, "environment"),)),
        # Ranks started this way may each be started in a step of its own.
        step_id=Fact(None, "--rank", (Candidate(base.step_id.value, base.step_id.source),)),
        rank=Fact(rank, "--rank", (Candidate(base.rank.value, base.rank.source),)),
        size=Fact(size, "--size", (Candidate(base.size.value, base.size.source),)),
        local_rank=Fact(0, "--rank"),
        local_size=Fact(1, "--rank"),
        node_index=Fact(rank, "--rank"),
        num_nodes=Fact(size, "--size"),
    )
