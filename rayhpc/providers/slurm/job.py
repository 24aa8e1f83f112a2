"""The job that one machine is: its script, and the options of sbatch that go with it.

Used by `provider`.  A job that grows has machines like the node that asks: the same partition,
account, processors and so on, read from SLURM once.  Those of a cluster are as their node type
says, and end with its head's job, if it is one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from rayhpc.batch.errors import OptionError
from rayhpc.batch.slurm.commands import call
from rayhpc.elastic.types import NodeType
from rayhpc.providers import machine_script
from rayhpc.providers.base import ClusterFacts
from rayhpc.providers.machine_script import ArrayWords

# What is decided here, so that a node type may not.
_OURS = (
    *("array", "job-name", "comment", "nodes", "ntasks", "requeue", "no-requeue", "deadline"),
    *("wrap", "parsable", "dependency", "output", "error"),
)
_LIMIT = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_FIELD = re.compile(r"\b(\w+(?:/\w+)?)=(\S*)")
_NOTHING = ("", "(null)", "N/A", "Unknown", "UNLIMITED", "NOT_SET", "0")

# Before 23.02 SLURM does not tell a job its end, so it is asked for: that of this task, since the
# last one of an array has the id of the whole array.  NONE is no number: there is no limit.
_END = """\
end=$SLURM_JOB_END_TIME
[ -n "$end" ] || end=$(
    export SLURM_TIME_FORMAT=%s
    timeout 10 squeue -h -j "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" -o %e
)
case $end in *[!0-9]*) end= ;; esac"""
_TASK = ArrayWords("$SLURM_ARRAY_TASK_ID", 'scancel "$SLURM_ARRAY_JOB_ID"', _END)


def script_for(cluster: ClusterFacts, kind: NodeType) -> str:
    """The batch script of each machine of a type; its argument is the array's base."""
    return machine_script.script_for(cluster, kind, _TASK)


def words_of(kind: NodeType) -> list[str]:
    """The options of sbatch that a node type gives.

    Raises:
        OptionError: one is decided by rayhpc.
    """
    words = []
    for key, value in kind.options.items():
        name = key.strip("-").replace("_", "-")
        if name in _OURS:
            raise OptionError(
                f"node type {kind.name}: --{name} is set by rayhpc itself; leave it out"
            )
        words.append(f"--{name}" if value is True else f"--{name}={value}")
    return words


def life_of(kind: NodeType) -> float | None:
    """The time limit that a node type gives, in seconds; None: none, or not one of SLURM's."""
    told = {key.strip("-"): str(value) for key, value in kind.options.items()}
    limit = told.get("time", told.get("t", ""))
    found = _LIMIT.fullmatch(limit)
    if found is None:
        return None
    days, *rest = found.groups()
    numbers = [int(each) for each in rest if each is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60.0 + seconds
    if len(numbers) == 3:
        return (numbers[0] * 60 + numbers[1]) * 60.0 + numbers[2]
    minutes, seconds = (*numbers, 0)[:2]
    return minutes * 60.0 + seconds


def words_like(environ: Mapping[str, str]) -> list[str]:
    """The options for a job like the one we are in, with one node; none outside a job.

    Raises:
        SchedulerError: SLURM does not say.
    """
    told = _job_around(environ)
    if not told:
        return []
    words = [f"--cpus-per-task={environ.get('SLURM_CPUS_ON_NODE') or os.cpu_count()}"]
    for field, option in _LIKE.items():
        value = told.get(field, "")
        if value not in _NOTHING:
            words.append(f"--{option}={value}")
    gres = told.get("TresPerNode", "").removeprefix("gres:").removeprefix("gres/")
    if gres not in _NOTHING:
        words.append(f"--gres={gres}")
    if told.get("OverSubscribe") == "NO":
        words.append("--exclusive")
    return [*words, *_times(told)]


def words_in(environ: Mapping[str, str]) -> list[str]:
    """The options by which machines of a cluster end with its head; none if that is in no job.

    Raises:
        SchedulerError: SLURM does not say.
    """
    return list(_times(_job_around(environ)))


def _job_around(environ: Mapping[str, str]) -> dict[str, str]:
    job = environ.get("SLURM_JOB_ID")
    if not job:
        return {}
    return dict(_FIELD.findall(call(["scontrol", "--oneliner", "show", "job", job])))


_LIKE = {
    "Partition": "partition",
    "Account": "account",
    "QOS": "qos",
    "Features": "constraint",
    "Reservation": "reservation",
    "MinMemoryNode": "mem",
    "MinMemoryCPU": "mem-per-cpu",
}


def _times(told: Mapping[str, str]) -> Sequence[str]:
    """A machine may start later than we did, but is of no use after our end."""
    limit, end = told.get("TimeLimit", ""), told.get("EndTime", "")
    if limit in _NOTHING or end in _NOTHING:
        return []
    return [f"--time={limit}", "--time-min=1", f"--deadline={end}"]
