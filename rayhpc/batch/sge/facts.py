"""Grid Engine's table: which of its variables to trust, and where.

A batch script has the hosts and slots of its job in the file PE_HOSTFILE.  Ranks are started by our
own step (templates/sge/step.sh) through `qrsh -inherit`, which does not number them.  Never runs
a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rayhpc.allocation import plain, variables
from rayhpc.allocation.allocation import Allocation
from rayhpc.allocation.fact import Fact
from rayhpc.batch import steps
from rayhpc.machine.facts import MachineFacts


def present(environ: Mapping[str, str]) -> bool:
    """Whether this process is inside a Grid Engine job."""
    return bool(environ.get("JOB_ID") and environ.get("SGE_TASK_ID"))


def task(environ: Mapping[str, str]) -> str:
    """The number of the array task; empty outside an array."""
    number = environ.get("SGE_TASK_ID", "")
    return number if number.isdigit() else ""


def job_id(environ: Mapping[str, str]) -> str:
    """The job as `rayhpc jobs` names it: `12`, or `12_3` for task 3 of an array."""
    number = environ.get("JOB_ID", "")
    return f"{number}_{task(environ)}" if task(environ) else number


def is_rank(environ: Mapping[str, str]) -> bool:
    """Whether this process was started by the step of this same job."""
    return steps.is_rank(environ, f"{environ.get('JOB_ID')}.{environ.get('SGE_TASK_ID')}")


def is_terminal(environ: Mapping[str, str]) -> bool:
    """Whether this is `qrsh` or `qlogin` on one host: the program then gets the terminal."""
    return environ.get("JOB_SCRIPT") in ("QRSH", "QLOGIN") and environ.get("NHOSTS") == "1"


def read(environ: Mapping[str, str], machine: MachineFacts) -> Allocation:
    """What Grid Engine tells this process.

    Raises ValueError naming a variable that cannot be parsed.
    """
    base = replace(
        plain.read(environ, machine),
        scheduler=Fact("sge", "JOB_ID"),
        job_id=Fact(job_id(environ), "JOB_ID"),
        restart_count=variables.number_or(0, "RESTARTED is not set", environ, "RESTARTED"),
        submit_dir=variables.text(environ, "SGE_O_WORKDIR"),
        shared_dir=variables.text(environ, "RAYHPC_SHARED_DIR", "SGE_O_WORKDIR"),
    )
    if is_rank(environ):
        return steps.rank_facts(base, environ, "qrsh")
    hosts = _of_file(environ)
    if hosts:
        return steps.shell_facts(base, hosts, "PE_HOSTFILE")
    slots = variables.number(environ, "NSLOTS").value or 1
    return steps.shell_facts(base, {machine.hostname: slots}, "NSLOTS")


def _of_file(environ: Mapping[str, str]) -> dict[str, int]:
    """Slots per host, from lines like `host2 4 all.q@host2 UNDEFINED`; empty for a serial job."""
    try:
        with open(environ.get("PE_HOSTFILE", "")) as file:
            return steps.slots_of_hosts(line.split()[:2] for line in file if line.strip())
    except OSError:
        return {}
