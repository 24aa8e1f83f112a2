"""The table without any scheduler: one rank, on this machine.

Also the starting point of the other tables, so that each states only what it knows better.
"""

from __future__ import annotations

from collections.abc import Mapping

from rayhpc.allocation import variables
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.machine.facts import MachineFacts
from rayhpc.wire.feasibility import END_VARIABLE

_ALONE = "no scheduler"


def read(environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
    """A cluster of one node, this machine."""
    return Allocation(
        scheduler=Fact("plain", _ALONE),
        launcher=Fact("none", _ALONE),
        job_id=variables.text(environ, "RAYHPC_JOB_ID"),
        step_id=Fact(None, _ALONE),
        restart_count=Fact(0, _ALONE),
        rank=Fact(0, _ALONE),
        size=Fact(1, _ALONE),
        local_rank=Fact(0, _ALONE),
        local_size=Fact(1, _ALONE),
        node_index=Fact(0, _ALONE),
        num_nodes=Fact(1, _ALONE),
        nodes=Fact((machine.hostname,), "hostname"),
        component=Fact(None, _ALONE),
        cpus=Fact(None, _ALONE),
        memory=Fact(None, _ALONE),
        gpus=Fact(machine.gpus, machine.gpus.source),
        end_time=_end_time(environ),
        submit_dir=Fact(None, _ALONE),
        shared_dir=variables.text(environ, "RAYHPC_SHARED_DIR"),
        counts_shared=Fact(False, _ALONE),
    )


def _end_time(environ: Mapping[str, str]) -> Fact[float | None]:
    """A pod or a container has an end that it is told when it is started."""
    end = variables.number(environ, END_VARIABLE)
    return Fact(None, _ALONE) if end.value is None else Fact(float(end.value), end.source)
