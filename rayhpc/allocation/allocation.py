"""The allocation: what one rank knows about the whole, each value with its source.

Created by `detect.detect`, used by `launch`, by sizing and by `doctor`.  Data only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from rayhpc.allocation.fact import Fact
from rayhpc.machine.gpus import Gpus

# Launchers that have started no ranks: none at all, or the shell of a batch or interactive job,
# alone in an allocation whose step has not been started yet.  All others are launchers of ranks.
LONE = ("none", "batch", "salloc")


@dataclass(frozen=True)
class Allocation:
    """Facts of one rank.  A value of None means that the scheduler does not say.

    `cpus` and `memory` (bytes) are what the scheduler grants to all our ranks on this node
    together, `end_time` is in seconds since 1970, `shared_dir` suggests a directory that all nodes
    can write to, `launcher` is what started this process, `component` the part of a heterogeneous
    job that this node belongs to, `counts_shared` whether memory that several processes share
    counts against the limit once for each of them.
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
    counts_shared: Fact[bool]

    def facts(self) -> Iterator[tuple[str, Fact[Any]]]:
        """Every fact by name, in the order above."""
        for each in fields(self):
            yield each.name, getattr(self, each.name)
