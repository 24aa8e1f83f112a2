"""The job that one machine is: its script, and the options of sbatch that go with it.

Used by `provider`.  Inside a job, machines are like the node that asks: the same partition,
account, processors and so on, read from SLURM once.  Options of a node type override these.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence

from rayhpc.batch.errors import OptionError
from rayhpc.batch.rendering import OUR_RAYHPC
from rayhpc.batch.slurm.commands import call
from rayhpc.elastic.types import MACHINE_LABEL, TYPE_LABEL, NodeType
from rayhpc.providers.base import ClusterFacts

# What is decided here, so that a node type may not.
_OURS = (
    *("array", "job-name", "comment", "nodes", "ntasks", "requeue", "no-requeue", "deadline"),
    *("wrap", "parsable", "dependency", "output", "error"),
)
_FIELD = re.compile(r"\b(\w+(?:/\w+)?)=(\S*)")
_NOTHING = ("", "(null)", "N/A", "Unknown", "UNLIMITED", "NOT_SET", "0")

_SCRIPT = """\
#!/bin/bash
# One more node for a cluster of rayhpc; it ends when the cluster does, or when it is given back.
key={key}
folder={folder}
name={type}-$(( $1 + SLURM_ARRAY_TASK_ID ))

over() {{ scancel "$SLURM_ARRAY_JOB_ID" 2>/dev/null; exit 0; }}

[ -e "$key" ] || over  # the cluster has ended
cd {work_dir} || exit 78
{rayhpc} start --address={address} --key-file="$key" --block \\
    --labels="{machine}=$name,{of_type}={type}"{labels} &
node=$!
trap 'kill -TERM "$node" 2>/dev/null' TERM INT
code=0
while kill -0 "$node" 2>/dev/null; do wait "$node"; code=$?; done

[ -e "$key" ] || over
case $code in
71|76)  # no head there; three that find none are enough to know
    : >"$folder/lost.$SLURM_ARRAY_TASK_ID"
    set -- "$folder"/lost.*
    [ $# -lt 3 ] || over
    exit 0 ;;
esac
exit "$code"
"""


def script_for(cluster: ClusterFacts, kind: NodeType) -> str:
    """The batch script of each machine of a type; its argument is the array's base."""
    labels = "".join(f",{key}={value}" for key, value in kind.labels.items())
    return _SCRIPT.format(
        key=shlex.quote(str(cluster.key_file)),
        folder=shlex.quote(str(cluster.folder)),
        work_dir=shlex.quote(cluster.work_dir),
        address=shlex.quote(cluster.address),
        rayhpc=shlex.join(OUR_RAYHPC),
        type=kind.name,
        machine=MACHINE_LABEL,
        of_type=TYPE_LABEL,
        labels=shlex.quote(labels) if labels else "",
    )


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


def words_like(environ: Mapping[str, str]) -> list[str]:
    """The options for a job like the one we are in, with one node; none outside a job.

    Raises:
        SchedulerError: SLURM does not say.
    """
    job = environ.get("SLURM_JOB_ID")
    if not job:
        return []
    told = dict(_FIELD.findall(call(["scontrol", "--oneliner", "show", "job", job])))
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
