"""YARN's table: the container's id from YARN, its size from our own ApplicationMaster.

YARN itself tells a container neither memory, nor vcores, nor GPUs, so the ApplicationMaster passes
on what was allocated as RAYHPC_*.  Never talks to a NodeManager.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from rayhpc.allocation import plain, variables
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Candidate, Fact, first
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.gpus import Gpus

_MIB = 1 << 20
# container_[e<epoch>_]<cluster timestamp>_<application>_<attempt>_<container> (ContainerId.java)
_CONTAINER = re.compile(r"container_(?:e\d+_)?(\d+)_(\d+)_(\d+)_(\d+)")


def present(environ: Mapping[str, str]) -> bool:
    """Whether this process is inside a YARN container."""
    return bool(environ.get("CONTAINER_ID")) and "NM_HOST" in environ


def application(environ: Mapping[str, str]) -> str | None:
    """The id of this container's application; None if its own id is not one of YARN's."""
    match = _CONTAINER.fullmatch(environ.get("CONTAINER_ID", ""))
    return f"application_{match[1]}_{match[2]}" if match else None


def read(environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
    """What YARN and our ApplicationMaster tell this container.

    Raises ValueError naming a variable that cannot be parsed.
    """
    match, application_id = _CONTAINER.fullmatch(environ["CONTAINER_ID"]), application(environ)
    if match is None:
        raise ValueError(f"CONTAINER_ID={environ['CONTAINER_ID']!r} is not a YARN container's id")
    size = variables.number_or(1, "RAYHPC_SIZE is not set", environ, "RAYHPC_SIZE")
    rank = variables.number_or(0, "RAYHPC_RANK is not set", environ, "RAYHPC_RANK")
    nodes = variables.text(environ, "NM_HOST")
    return replace(
        plain.read(environ, machine),
        scheduler=Fact("yarn", "CONTAINER_ID"),
        launcher=Fact("yarn", "CONTAINER_ID"),
        job_id=Fact(application_id, "CONTAINER_ID"),
        # A container's id is its own; siblings share the application and the attempt.
        step_id=Fact(None, "YARN has no steps"),
        restart_count=Fact(int(match[3]) - 1, "CONTAINER_ID"),
        rank=rank,
        size=size,
        # Each container is a node of its own, even if two share a machine.
        node_index=Fact(rank.value, rank.source),
        num_nodes=Fact(size.value, size.source),
        nodes=Fact((nodes.value or machine.hostname,), nodes.source),
        cpus=variables.number(environ, "RAYHPC_NUM_CPUS"),
        memory=_memory(environ),
        gpus=_gpus(environ, machine),
        counts_shared=_counts_shared(environ, machine),
    )


def _memory(environ: Mapping[str, str]) -> Fact[int | None]:
    mebibytes = variables.number(environ, "RAYHPC_MEMORY_MB")
    value = None if mebibytes.value is None else mebibytes.value * _MIB
    return Fact(value, mebibytes.source)


def _counts_shared(environ: Mapping[str, str], machine: MachineFacts) -> Fact[bool]:
    """YARN's own check adds up the resident memory of each process; a control group counts once."""
    limit = machine.cgroup.memory_limit
    if limit is not None:
        return Fact(False, limit.path)
    told = environ.get("RAYHPC_COUNTS_SHARED")
    if told is not None:
        return Fact(told == "1", "RAYHPC_COUNTS_SHARED")
    return Fact(True, "YARN's default check")


def _gpus(environ: Mapping[str, str], machine: MachineFacts) -> Fact[Gpus]:
    """The GPUs our ApplicationMaster asked for; plain containers see all there are."""
    asked = variables.number(environ, "RAYHPC_NUM_GPUS")
    seen = Candidate(machine.gpus, machine.gpus.source)
    if asked.value is None or asked.value >= len(machine.gpus):
        return first([seen])
    granted = replace(machine.gpus, ids=machine.gpus.ids[: asked.value])
    return first([Candidate(granted, asked.source), seen])
