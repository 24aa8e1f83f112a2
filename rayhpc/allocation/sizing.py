"""The size of a node: processors, GPUs, memory, object store, each with its source.

Called by whatever starts a raylet, and by `doctor`.  A pure function of facts and options.

The smallest applicable limit wins.  If nothing limits memory, a node that got a share of the
machine's processors or GPUs takes the same share of its memory, the larger of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Candidate, Fact, first, least
from rayhpc.allocation.local_ranks import LocalFacts, local_facts
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.gpus import Gpus

OBJECT_STORE_SHARE = 0.3


@dataclass(frozen=True)
class NodeSize:
    """One node's resources; memory in bytes, with the object store part of `memory`.

    `memory_limit` is what the node's processes may use together.  As in Ray, the user's --memory is
    what tasks may request: it never lowers this limit.
    """

    cpus: Fact[int]
    gpus: Fact[Gpus]
    memory: Fact[int]
    object_store_memory: Fact[int]
    memory_limit: int

    @property
    def task_memory(self) -> int:
        """Bytes that tasks may request: what the user gave, or what the store leaves."""
        if self.memory.source == "--memory":
            return self.memory.value
        return max(0, self.memory.value - self.object_store_memory.value)


def size_node(
    machine: MachineFacts,
    allocation: Allocation,
    local: LocalFacts | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    memory: int | None = None,
    object_store_memory: int | None = None,
) -> NodeSize:
    """The size of this node; `local` is the merge of its ranks if it has several.

    The options are the user's and override every limit.  Raises ValueError for a negative one, for
    no memory, and for a store larger than the memory.
    """
    _check(num_cpus=num_cpus, num_gpus=num_gpus, memory=memory, store=object_store_memory)
    local = local or local_facts(machine, allocation)
    given_cpus = least(_cpu_candidates(machine, allocation, local))
    given_gpus = Fact(local.gpus, allocation.gpus.source, allocation.gpus.candidates)
    cpus = _told(num_cpus, "--num-cpus", given_cpus)
    gpus = _choose_gpus(num_gpus, given_gpus)
    whole = _Whole(given_cpus.value, len(given_gpus.value))
    found = _memory(machine, allocation, local, whole, cpus, gpus)
    total = _told(memory, "--memory", found)
    store = _store(object_store_memory, total, found, allocation, cpus.value)
    return NodeSize(cpus, gpus, total, store, max(total.value, found.value))


@dataclass(frozen=True)
class _Whole:
    """The total of which a node may have a share."""

    cpus: int
    gpus: int

    def share(self, cpus: int, gpus: int) -> float:
        """The larger of both shares, at most 1; something the machine does not have is ignored.

        A node without CPUs and real GPUs counts as one CPU: it may host a driver, and its objects.
        """
        by_gpu = gpus / self.gpus if self.gpus else 0.0
        counted = cpus if cpus or by_gpu else 1
        by_cpu = counted / self.cpus if self.cpus else 0.0
        return min(1.0, max(by_cpu, by_gpu))


def _cpu_candidates(
    machine: MachineFacts, allocation: Allocation, local: LocalFacts
) -> Iterator[Candidate[int]]:
    if local.cpus:
        yield Candidate(local.cpus, allocation.cpus.source)
    yield Candidate(len(local.affinity) or machine.online_cpus, "affinity")
    group = machine.cgroup
    if group.cpuset:
        yield Candidate(len(group.cpuset), group.cpuset_path)
    if group.cpu_quota is not None:
        # A fractional processor on top of whole ones would be throttled, so it is not offered.
        yield Candidate(max(1, int(group.cpu_quota.value)), group.cpu_quota.path)
    yield Candidate(machine.online_cpus, "processors online")


def _choose_gpus(number: int | None, given: Fact[Gpus]) -> Fact[Gpus]:
    """The first of the given ones; beyond them made-up indices, as in Ray, for tests."""
    if number is None:
        return given
    known = given.value.ids[:number]
    invented = (str(index) for index in range(len(known), number))
    chosen = replace(given.value, ids=(*known, *invented))
    return first([Candidate(chosen, "--num-gpus"), Candidate(given.value, given.source)])


def _memory(
    machine: MachineFacts,
    allocation: Allocation,
    local: LocalFacts,
    given: _Whole,
    cpus: Fact[int],
    gpus: Fact[Gpus],
) -> Fact[int]:
    limited = [Candidate(machine.memory.total, "installed memory")]
    if machine.cgroup.memory_limit is not None:
        limit = machine.cgroup.memory_limit
        limited.append(Candidate(int(limit.value), limit.path))
    if local.memory:
        limited.append(Candidate(local.memory, allocation.memory.source))
    fact = least(limited)
    # Limits scale with what was given, installed memory with the whole machine.
    whole = given
    if fact.source == "installed memory":
        whole = _Whole(machine.online_cpus, machine.devices.count)
    share = whole.share(cpus.value, len(gpus.value))
    if share == 1.0:
        return fact
    part = Candidate(int(fact.value * share), f"{share:.0%} of {fact.source}")
    return Fact(part.value, part.source, (part, *fact.candidates))


def _store(
    told: int | None, memory: Fact[int], found: Fact[int], allocation: Allocation, cpus: int
) -> Fact[int]:
    part = int(memory.value * OBJECT_STORE_SHARE)
    why = "30% of memory"
    if allocation.counts_shared.value and cpus > 1:
        # A full store that a worker on each CPU and one process more have read must not be what
        # the container is killed for.
        part = int(memory.value * 2 * OBJECT_STORE_SHARE / (cpus + 1))
        why = f"60% of memory, counted in {cpus + 1} processes"
    # What tasks may ask for by --memory is beside the store, and no bound of it.
    room = max(memory, found, key=lambda x: x.value)
    if told is not None and told > room.value:
        raise ValueError(
            f"an object store of {told} bytes does not fit into this node's {room.value} bytes "
            f"of memory ({room.source}); give at most that to --object-store-memory"
        )
    return _told(told, "--object-store-memory", first([Candidate(part, why)]))


def _told(value: int | None, option: str, found: Fact[int]) -> Fact[int]:
    """The option if it is given, otherwise what was found."""
    if value is None:
        return found
    told = Candidate(value, option)
    return Fact(value, option, (told, *found.candidates))


def _check(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and (value < 0 or (value == 0 and name == "memory")):
            raise ValueError(f"{name.replace('_', '-')} cannot be {value}")
