"""What the fake SLURM puts into environments and file names, as 22.05 does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.slurm.fake.model import Job, hostlist
from tests.slurm.fake.settings import Settings


def pattern(text: str, job: Job) -> str:
    """A file name with its % signs filled in."""
    values = {
        "j": str(job.id),
        "A": str(job.array or job.id),
        "a": "4294967294" if job.task is None else str(job.task),
        "x": str(job.options["job_name"] or Path(job.script).name),
        "%": "%",
    }
    return re.sub(r"%([jAax%])", lambda match: values[match[1]], text)


def of_job(job: int, name: str, nodes: list[str], cpus: int, gpus: object) -> dict[str, str]:
    """What describes the job in batch scripts and steps alike."""
    counts = f"{cpus}(x{len(nodes)})" if len(nodes) > 1 else str(cpus)
    found = {
        "SLURM_JOB_ID": str(job),
        "SLURM_JOBID": str(job),
        "SLURM_JOB_NAME": name,
        "SLURM_JOB_NODELIST": hostlist(nodes),
        "SLURM_NODELIST": hostlist(nodes),
        "SLURM_JOB_NUM_NODES": str(len(nodes)),
        "SLURM_NNODES": str(len(nodes)),
        "SLURM_JOB_CPUS_PER_NODE": counts,
        "SLURM_CPUS_ON_NODE": str(cpus),
        "SLURM_CLUSTER_NAME": "fake",
    }
    if gpus:
        count = int(str(gpus).rpartition(":")[2])
        ids = ",".join(map(str, range(count)))
        found |= {"SLURM_GPUS_PER_NODE": str(gpus), "SLURM_GPUS_ON_NODE": str(count)}
        found |= {"SLURM_JOB_GPUS": ids, "CUDA_VISIBLE_DEVICES": ids}
    return found


def batch_environment(settings: Settings, job: Job) -> dict[str, str]:
    """A batch script's."""
    environ = dict(job.environ)
    environ |= of_job(
        job.id,
        str(job.options["job_name"] or "job"),
        job.allotted,
        job.cpus,
        job.options["gpus_per_node"],
    )
    environ |= {
        "ENVIRONMENT": "BATCH",
        "SLURMD_NODENAME": job.allotted[0],
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS": str(job.nodes * int(str(job.options["ntasks_per_node"] or 1))),
        "SLURM_TASK_PID": "1",
        "SLURM_SUBMIT_DIR": job.environ.get("PWD", "/"),
        "SLURM_SUBMIT_HOST": "login",
    }
    if job.options["ntasks_per_node"]:
        environ["SLURM_NTASKS_PER_NODE"] = str(job.options["ntasks_per_node"])
    if job.options["cpus_per_task"]:
        environ["SLURM_CPUS_PER_TASK"] = str(job.options["cpus_per_task"])
    if job.restarts:
        environ["SLURM_RESTART_COUNT"] = str(job.restarts)
    if job.task is not None:
        environ["SLURM_ARRAY_JOB_ID"] = str(job.array)
        environ["SLURM_ARRAY_TASK_ID"] = str(job.task)
    return environ


def task_environment(
    base: Mapping[str, str], place: Mapping[str, object], nodes: list[str], rank: int, per_node: int
) -> dict[str, str]:
    """One task's of a step on `nodes`."""
    environ = {name: value for name, value in base.items() if name != "ENVIRONMENT"}
    job_nodes = [str(each) for each in place["nodes"]]  # type: ignore[attr-defined]
    cpus = int(str(place["cpus"]))
    environ |= of_job(int(str(place["job"])), str(place["name"]), job_nodes, cpus, place["gpus"])
    total, tasks = len(nodes) * per_node, str(per_node)
    environ |= {
        "SLURM_STEP_ID": str(place["step"]),
        "SLURM_STEPID": str(place["step"]),
        "SLURM_STEP_NODELIST": hostlist(nodes),
        "SLURM_STEP_NUM_NODES": str(len(nodes)),
        "SLURM_STEP_NUM_TASKS": str(total),
        "SLURM_STEP_TASKS_PER_NODE": f"{tasks}(x{len(nodes)})" if len(nodes) > 1 else tasks,
        "SLURM_NNODES": str(len(nodes)),
        "SLURM_NTASKS": str(total),
        "SLURM_NPROCS": str(total),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank % per_node),
        "SLURM_NODEID": str(rank // per_node),
        "SLURMD_NODENAME": nodes[rank // per_node],
        "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
    }
    if place["gpus"]:
        environ["SLURM_STEP_GPUS"] = environ["SLURM_JOB_GPUS"]
    return environ
