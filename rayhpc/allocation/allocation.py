"""The allocation: what one rank knows of the whole, each value with its source.

Made by `detect.detect`, read by `launch`, by sizing and by `doctor`.  Only data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from rayhpc.allocation.fact import Fact
from rayhpc.machine.gpus import Gpus

# Launchers that have started no ranks: nobody, and the shell of a batch job or of an interactive
# one, alone in an allocation whose step is yet to be started.  All others are launchers of ranks.
LONE = ("none", "batch", "salloc")


@dataclass(frozen=True)
class Allocation:
    """Facts of one rank.  None as a value means: the scheduler does not say.

    `cpus` and `memory` (bytes) are what the scheduler gives to all our ranks on this node
    together, `end_time` is in seconds since 1970, `shared_dir` a hint where all nodes can write,
    `launcher` who started this very process,
    `component` the part of a heterogeneous job that this node belongs to.
    """

    scheduler: Fact[str]
    launcher: Fact[str]
    job_id: Fact[str | None]
    step_id: Fact[str | None]
    restart_count: Fact[int]
    rank: Fact[int]
    size: Fact[int]
    local_rank: Fact[int]
    local_size: Fact[int]
    node_index: Fact[int | None]
    num_nodes: Fact[int | None]
    nodes: Fact[tuple[str, ...]]
    component: Fact[int | None]
    cpus: Fact[int | None]
    memory: Fact[int | None]
    gpus: Fact[Gpus]
    end_time: Fact[float | None]
    submit_dir: Fact[str | None]
    shared_dir: Fact[str | None]

    def facts(self) -> Iterator[tuple[str, Fact[Any]]]:
        """Every fact by name, in the order above."""
        for each in fields(self):
            yield each.name, getattr(self, each.name)
