"""Merges several ranks on one node into one node.

Each local rank describes itself to the first of them, which merges the descriptions, takes over
the processors and runs the node's only raylet.  Only data and one function; how the descriptions
travel is up to the launcher.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rayhpc.allocation.allocation import Allocation
from rayhpc.machine.affinity import CpuSet
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.gpus import Gpus


@dataclass(frozen=True)
class LocalFacts:
    """What one local rank may use; `cpus` and `memory` (bytes) are the scheduler's figures."""

    affinity: CpuSet
    gpus: Gpus
    cpus: int | None = None
    memory: int | None = None


def local_facts(machine: MachineFacts, allocation: Allocation) -> LocalFacts:
    """The description of this rank."""
    return LocalFacts(
        machine.affinity,
        allocation.gpus.value,
        allocation.cpus.value,
        allocation.memory.value,
    )


def merge_local_ranks(ranks: list[LocalFacts]) -> LocalFacts:
    """The union of processors and GPUs, in rank order without duplicates.

    The scheduler's figures already cover the whole node, so the largest one counts.  Raises
    ValueError if there is no rank, or if ranks name GPUs of different kinds.
    """
    if not ranks:
        raise ValueError("a node has at least one rank")
    with_gpus = [rank.gpus for rank in ranks if rank.gpus.ids] or [ranks[0].gpus]
    kinds = {(gpus.kind, gpus.variable) for gpus in with_gpus}
    if len(kinds) > 1:
        names = ", ".join(sorted(variable for _, variable in kinds))
        raise ValueError(f"the ranks of this node name GPUs in different ways ({names})")
    ids = tuple(dict.fromkeys(each for gpus in with_gpus for each in gpus.ids))
    return LocalFacts(
        affinity=frozenset().union(*(rank.affinity for rank in ranks)),
        gpus=replace(with_gpus[0], ids=ids),
        cpus=_most(rank.cpus for rank in ranks),
        memory=_most(rank.memory for rank in ranks),
    )


def _most(numbers: Iterable[int | None]) -> int | None:
    return max((number for number in numbers if number is not None), default=None)
