"""SLURM's table: which of its variables to trust, and where.

In a step, SLURM_STEP_* and what slurmstepd sets (SLURM_PROCID, SLURM_CPUS_ON_NODE, the GPU
variables) describe the step; SLURM_NODELIST, SLURM_JOB_* and SLURM_GPUS_PER_NODE still describe
the job.  In a batch script SLURM_PROCID and SLURM_NTASKS are set too, though there is one process.
Never runs a SLURM command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rayhpc.allocation import plain, variables
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Candidate, Fact, first
from rayhpc.batch.slurm.hostlist import decode_counts, decode_hostlist
from rayhpc.machine.facts import MachineFacts
from rayhpc.machine.gpus import Gpus

_MIB = 1 << 20
# Step ids from here on are SLURM's own (batch script, extern, interactive; slurm.h).
_FIRST_SPECIAL_STEP = 0xFFFFFFF0
_GPU_GRANTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE")


def present(environ: Mapping[str, str]) -> bool:
    """Whether this process is inside a SLURM allocation."""
    return bool(environ.get("SLURM_JOB_ID") or environ.get("SLURM_JOBID"))


def in_step(environ: Mapping[str, str]) -> bool:
    """Whether srun started this process; False in a batch script or an interactive shell."""
    step = environ.get("SLURM_STEP_ID") or environ.get("SLURM_STEPID") or ""
    return step.isdigit() and int(step) < _FIRST_SPECIAL_STEP


def read(environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
    """What SLURM tells this process.

    Raises ValueError naming a variable that cannot be parsed.
    """
    base = replace(
        plain.read(environ, machine),
        scheduler=Fact("slurm", "SLURM_JOB_ID"),
        job_id=variables.text(environ, "SLURM_JOB_ID", "SLURM_JOBID"),
        restart_count=variables.number_or(0, "never requeued", environ, "SLURM_RESTART_COUNT"),
        component=_component(environ),
        cpus=_cpus(environ),
        memory=_memory(environ, machine),
        gpus=_gpus(environ, machine),
        end_time=_end_time(environ),
        submit_dir=variables.text(environ, "SLURM_SUBMIT_DIR"),
        shared_dir=variables.text(environ, "RAYHPC_SHARED_DIR", "SLURM_SUBMIT_DIR"),
    )
    return _step(base, environ) if in_step(environ) else _shell(base, environ)


def _step(base: Allocation, environ: Mapping[str, str]) -> Allocation:
    """One task of a step."""
    # srun describes each component of a heterogeneous step in SLURM_STEP_*, while slurmstepd
    # counts tasks and nodes over all of them.
    totals = ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"), ("SLURM_NNODES", "SLURM_STEP_NUM_NODES")
    tasks, nodes = totals if "SLURM_HET_SIZE" in environ else (t[::-1] for t in totals)
    return replace(
        base,
        launcher=Fact("srun", "SLURM_STEP_ID"),
        step_id=variables.text(environ, "SLURM_STEP_ID", "SLURM_STEPID"),
        rank=variables.number_or(0, "SLURM_PROCID is not set", environ, "SLURM_PROCID"),
        size=variables.number_or(1, "no task count is set", environ, *tasks),
        local_rank=variables.number_or(0, "SLURM_LOCALID is not set", environ, "SLURM_LOCALID"),
        local_size=_local_size(environ),
        node_index=variables.number(environ, "SLURM_NODEID"),
        num_nodes=variables.number(environ, *nodes),
        nodes=_step_nodes(environ),
    )


def _shell(base: Allocation, environ: Mapping[str, str]) -> Allocation:
    """A batch script, or salloc's shell: alone, with a whole allocation to start a step on."""
    batch = environ.get("ENVIRONMENT") == "BATCH" or "SLURM_TASK_PID" in environ
    nodes = variables.text(environ, "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    groups = _component_nodes(environ)
    names = [name for group in groups.values() for name in group]
    return replace(
        base,
        launcher=Fact("batch" if batch else "salloc", "SLURM_STEP_ID is not set"),
        rank=Fact(0, "not in a step"),
        size=Fact(1, "not in a step"),
        num_nodes=(
            Fact(len(names), "SLURM_JOB_NODELIST_HET_GROUP_*")
            if names
            else variables.number(environ, "SLURM_JOB_NUM_NODES", "SLURM_NNODES")
        ),
        nodes=(
            Fact(tuple(names), "SLURM_JOB_NODELIST_HET_GROUP_*")
            if names
            else Fact(decode_hostlist(nodes.value or ""), nodes.source)
        ),
    )


def _step_nodes(environ: Mapping[str, str]) -> Fact[tuple[str, ...]]:
    """The nodes of the step, of all components if it spans a heterogeneous job."""
    step = variables.text(environ, "SLURM_STEP_NODELIST", "SLURM_NODELIST")
    own = decode_hostlist(step.value or "")
    every = tuple(name for group in _component_nodes(environ).values() for name in group)
    if every and len(own) < len(every) == variables.number(environ, "SLURM_NNODES").value:
        return Fact(every, "SLURM_JOB_NODELIST_HET_GROUP_*", (Candidate(own, step.source),))
    return Fact(own, step.source)


def _local_size(environ: Mapping[str, str]) -> Fact[int]:
    """The number of this step's tasks on this node."""
    tasks = variables.text(environ, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    counts = decode_counts(tasks.value or "")
    own = decode_hostlist(environ.get("SLURM_STEP_NODELIST", ""))
    name = environ.get("SLURMD_NODENAME", "")
    index = own.index(name) if name in own else variables.number(environ, "SLURM_NODEID").value
    if index is None or index >= len(counts):
        return Fact(1, "no task count of this node is set")
    return Fact(counts[index], tasks.source)


def _component(environ: Mapping[str, str]) -> Fact[int | None]:
    name = environ.get("SLURMD_NODENAME", "")
    for group, names in _component_nodes(environ).items():
        if name in names:
            return Fact(group, f"SLURM_JOB_NODELIST_HET_GROUP_{group}")
    return Fact(None, "not a heterogeneous job")


def _component_nodes(environ: Mapping[str, str]) -> dict[int, tuple[str, ...]]:
    """Node names by component of a heterogeneous job; empty for any other."""
    groups: dict[int, tuple[str, ...]] = {}
    if "SLURM_HET_SIZE" in environ:
        for group in range(variables.to_int(environ, "SLURM_HET_SIZE")):
            variable = f"SLURM_JOB_NODELIST_HET_GROUP_{group}"
            groups[group] = decode_hostlist(environ.get(variable, ""))
    return groups


def _cpus(environ: Mapping[str, str]) -> Fact[int | None]:
    """Processors of the step on this node; the job's are a candidate, to show the difference."""
    step = variables.number(environ, "SLURM_CPUS_ON_NODE")
    counts = decode_counts(environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    names = decode_hostlist(environ.get("SLURM_JOB_NODELIST", ""))
    name = environ.get("SLURMD_NODENAME", "")
    if step.value is None or len(names) != len(counts) or name not in names:
        return step
    job = Candidate(counts[names.index(name)], "SLURM_JOB_CPUS_PER_NODE")
    return Fact(step.value, step.source, (*step.candidates, job))


def _memory(environ: Mapping[str, str], machine: MachineFacts) -> Fact[int | None]:
    """Bytes on this node; SLURM's numbers are MiB, and 0 means all."""
    cpus = variables.number(environ, "SLURM_CPUS_ON_NODE").value or 0
    found = [
        Candidate[int | None](amount * times * _MIB, name)
        for name, times in (
            ("SLURM_MEM_PER_NODE", 1),
            ("SLURM_MEM_PER_CPU", cpus),
            ("SLURM_MEM_PER_GPU", len(machine.gpus)),
        )
        if (amount := variables.number(environ, name).value) and times
    ]
    return first(found) if found else Fact(None, "SLURM sets no memory limit")


def _gpus(environ: Mapping[str, str], machine: MachineFacts) -> Fact[Gpus]:
    """The visible GPUs, but none that were not requested on a node shared with others."""
    seen = Candidate(machine.gpus, machine.gpus.source)
    named = machine.gpus.source == machine.gpus.variable
    granted = any(environ.get(name) for name in _GPU_GRANTS)
    cpus = variables.number(environ, "SLURM_CPUS_ON_NODE").value
    whole = cpus is not None and cpus >= machine.online_cpus
    if named or granted or whole or not machine.gpus.ids:
        return first([seen])
    nothing = Candidate(replace(machine.gpus, ids=()), "SLURM granted no GPU on this shared node")
    return first([nothing, seen])


def _end_time(environ: Mapping[str, str]) -> Fact[float | None]:
    end = variables.number(environ, "SLURM_JOB_END_TIME")
    return Fact(None if end.value is None else float(end.value), end.source)
