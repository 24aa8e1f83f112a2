"""The job that one machine is on Grid Engine: its script, and the arguments of its qsub.

Used by `provider`.  A job that grows has machines like the host that asks: the same queue, parallel
environment, slots, project and resources, read from Grid Engine once.  Those of a cluster are as
their node type says.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from rayhpc.batch.errors import OptionError
from rayhpc.batch.sge.commands import call
from rayhpc.elastic.types import NodeType
from rayhpc.providers import machine_script
from rayhpc.providers.base import ClusterFacts
from rayhpc.providers.machine_script import ArrayWords

# What is decided here, so that a node type may not.
_OURS = (
    *("t", "tc", "N", "o", "e", "j", "S", "V", "terse", "sync", "b", "r", "notify", "cwd", "wd"),
    *("hold_jid", "hold_jid_ad", "now"),
)
# USR1 and USR2 announce SIGSTOP and SIGKILL, to every process of the job.
_TASK = ArrayWords(
    "$SGE_TASK_ID", 'qdel "$JOB_ID"', shield="trap '' USR1 USR2", ends="TERM INT USR2"
)
_LIMIT = re.compile(r"\bh_rt=(\d*(?::\d*){0,2})")
_FIELD = re.compile(r"^(\w[\w ]*?):\s+(.*?)\s*$", re.MULTILINE)


def script_for(cluster: ClusterFacts, kind: NodeType) -> str:
    """The batch script of each machine of a type; its argument is the array's base."""
    return machine_script.script_for(cluster, kind, _TASK)


def words_of(kind: NodeType) -> list[str]:
    """The arguments of qsub that a node type gives: `{q: all.q, pe: smp 4, l: h_rt=3600}`.

    Raises:
        OptionError: one is decided by rayhpc.
    """
    words = []
    for key, value in kind.options.items():
        name = key.strip("-")
        if name in _OURS:
            raise OptionError(
                f"node type {kind.name}: -{name} is set by rayhpc itself; leave it out"
            )
        words += [f"-{name}"] if value is True else [f"-{name}", *shlex.split(str(value))]
    return words


def life_of(kind: NodeType) -> float | None:
    """The time limit `h_rt` that a node type gives, in seconds; None: none."""
    told = {key.strip("-"): str(value) for key, value in kind.options.items()}
    found = _LIMIT.search(told.get("l", ""))
    if found is None:
        return None
    seconds = 0
    for part in found[1].split(":"):
        seconds = 60 * seconds + int(part or 0)
    return float(seconds)


def words_like(environ: Mapping[str, str]) -> list[str]:
    """The arguments for a job like the one we are in, on one host; none outside a job.

    Raises:
        SchedulerError: Grid Engine does not say.
    """
    number = environ.get("JOB_ID")
    if not number:
        return []
    told = dict(_FIELD.findall(call(["qstat", "-j", number])))
    words = ["-q", environ["QUEUE"]] if environ.get("QUEUE") else []
    if environ.get("PE"):
        slots = int(environ.get("NSLOTS", "1")) // max(1, int(environ.get("NHOSTS", "1")))
        words += ["-pe", environ["PE"], str(slots)]
    if told.get("hard resource_list"):
        words += ["-l", told["hard resource_list"]]
    if told.get("project"):
        words += ["-P", told["project"]]
    return words
