"""PBS's table: which of its variables to trust, and where.

A batch script has the hosts of its job in the file PBS_NODEFILE, one line for each process it may
start there.  Ranks are started by our own step (templates/pbs/step.sh) through `pbsdsh`.  Never
runs a program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from rayhpc.allocation import plain, variables
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch import steps
from rayhpc.machine.facts import MachineFacts

# `123.server`, or for an array `123[4].server`; Torque used to write `123-4.server`.
_ID = re.compile(r"(\d+)(?:\[(\d*)\]|-(\d+))?(?:\..*)?")
# The wait of OpenPBS and Torque between SIGTERM and SIGKILL if the site sets none (kill_delay).
_KILL_DELAY_S = 10.0
_TORQUE_KILL_DELAY_S = 2.0


def present(environ: Mapping[str, str]) -> bool:
    """Whether this process is inside a PBS job."""
    return bool(environ.get("PBS_JOBID") and environ.get("PBS_NODEFILE"))


def short_id(name: str) -> str:
    """The job as `rayhpc jobs` names it: `123`, or `123_4` for task 4 of an array."""
    match = _ID.fullmatch(name.strip())
    if match is None:
        return name.strip()
    task = match[2] or match[3]
    return f"{match[1]}_{task}" if task else match[1]


def task(environ: Mapping[str, str]) -> str:
    """The number of the array task; empty outside an array."""
    return short_id(environ.get("PBS_JOBID", "")).partition("_")[2]


def is_rank(environ: Mapping[str, str]) -> bool:
    """Whether this process was started by the step of this same job."""
    return steps.is_rank(environ, environ.get("PBS_JOBID", ""))


def kill_delay(environ: Mapping[str, str]) -> Fact[float | None]:
    """Seconds between SIGTERM and SIGKILL: the queue's setting, passed on by the job script."""
    told = environ.get("RAYHPC_KILL_DELAY_S", "")
    if told.isdigit():
        return Fact(float(told), "kill_delay of the queue")
    if environ.get("PBS_VERSION", "").startswith("TORQUE"):
        return Fact(_TORQUE_KILL_DELAY_S, "Torque's default kill_delay")
    return Fact(_KILL_DELAY_S, "PBS's default kill_delay")


def read(environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
    """What PBS tells this process.

    Raises ValueError naming a variable that cannot be parsed.
    """
    base = replace(
        plain.read(environ, machine),
        scheduler=Fact("pbs", "PBS_JOBID"),
        job_id=Fact(short_id(environ["PBS_JOBID"]), "PBS_JOBID"),
        submit_dir=variables.text(environ, "PBS_O_WORKDIR"),
        shared_dir=variables.text(environ, "RAYHPC_SHARED_DIR", "PBS_O_WORKDIR"),
    )
    if is_rank(environ):
        return steps.rank_facts(base, environ, "pbsdsh")
    hosts = _of_file(environ) or {machine.hostname: 1}
    # A chunk with one process has one line, however many CPUs it has.
    cpus = variables.number(environ, "NCPUS", "PBS_NUM_PPN").value or 1
    return steps.shell_facts(
        base, {host: max(lines, cpus) for host, lines in hosts.items()}, "PBS_NODEFILE"
    )


def _of_file(environ: Mapping[str, str]) -> dict[str, int]:
    """Number of lines per host; empty if the file cannot be read."""
    try:
        with open(environ["PBS_NODEFILE"]) as file:
            return steps.slots_of_hosts((line.strip(), "1") for line in file if line.strip())
    except OSError:
        return {}
