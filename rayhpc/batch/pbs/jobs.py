"""The submit side of PBS: OpenPBS and PBS Professional, and Torque where it differs.

Created by `system`.  While a job is pending one `qstat` covers all jobs; after that the job's
folder has everything.  The job script writes the program's output itself: PBS keeps it on the host
until the job has ended.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from rayhpc.batch import values
from rayhpc.batch.errors import OptionError, SchedulerError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import (
    Explanation,
    JobStatus,
    State,
    as_folder_tells,
    forgotten,
    present,
    told_by_folders,
    worst_end,
)
from rayhpc.batch.pbs.commands import attempt, call, is_torque
from rayhpc.batch.pbs.facts import short_id
from rayhpc.batch.pbs.listing import ask
from rayhpc.batch.pbs.words import refusal
from rayhpc.batch.rendering import render_job, uses_pyxis
from rayhpc.batch.request import JobRequest
from rayhpc.batch.system import Jobs

_UNFIT = re.compile(r"[^A-Za-z0-9_.+-]")
_KILL_DELAY = re.compile(r"kill_delay = (\d+)")
_GONE = re.compile(r"unknown job|has finished|invalid for state", re.IGNORECASE)
# Longer names are silently truncated by Torque, and refused by OpenPBS.
_TORQUE_NAME, _NAME = 15, 230
_ONE_JOBS = ("PBS_JOBID", "PBS_NODEFILE", "RAYHPC_STEP")


class PbsJobs(Jobs):
    """Jobs of PBS."""

    without = ("qos", "constraint", "reservation", "no_kill")

    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """The batch script."""
        if request.container is not None and uses_pyxis(request):
            raise OptionError("pyxis needs SLURM; here, give an image that apptainer can run")
        return render_job(self.system, request, folder, _values(request, folder))

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """One request to the server; returns the job's id."""
        folder.script.write_text(script)
        folder.script.chmod(0o700)
        # -V copies our environment into the job.
        said = call(["qsub", str(folder.script)], drop=_ONE_JOBS)
        return short_id(said.strip().splitlines()[-1])

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """From the folders if they have the answer, else from one qstat for all the others."""
        found, unclear = told_by_folders(folders)
        if unclear:
            known = ask([_native(folder) for folder in unclear.values()])
            for name, folder in unclear.items():
                worst = worst_end(folder)
                if name in known:
                    found[name] = as_folder_tells(known[name], folder)
                elif worst is not None:
                    found[name] = JobStatus.of_summary(name, worst)
        return found

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """One qdel for all of them."""
        names = [_native(folder) for folder in folders if folder.record().id]
        if not names:
            return
        done = attempt(["qdel", *names])
        bad = [line for line in done.stderr.splitlines() if line and not _GONE.search(line)]
        if done.returncode != 0 and bad:
            raise SchedulerError(refusal("qdel", "\n".join(bad)))

    def explain(self, folder: JobFolder) -> Explanation:
        """The scheduler's latest comment.  PBS cannot be asked what would start sooner."""
        record = folder.record()
        status = self.status([folder]).get(record.id)
        if status is None:
            return forgotten("PBS", record)
        if status.state is State.PENDING:
            return Explanation([f"job {status.id} is waiting: {status.reason}"], _never(status))
        return Explanation([present(status)], [])

    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """By ssh, which sites allow to the hosts of one's own jobs: PBS offers nothing itself."""
        record = folder.record()
        status = self.status([folder]).get(record.id)
        host = self.system.head_host(status.nodes) if status is not None else None
        if status is None or status.state is not State.RUNNING or host is None:
            how = "is unknown" if status is None else f"is {status.state.value}"
            raise SchedulerError(f"job {record.id} {how}: only a running job has a cluster")
        return ["ssh", "-q", *(["-t"] if terminal else []), host, shlex.join(command)]


def _native(folder: JobFolder) -> str:
    """PBS's own id: an array has brackets, and its task a number in them."""
    record = folder.record()
    number, _, task = record.id.partition("_")
    return f"{number}[{task}]" if record.array else number


def _never(status: JobStatus) -> list[str]:
    return ["it can never start as it is: ask for less, or another --partition"] * status.hopeless


def _values(request: JobRequest, folder: JobFolder) -> dict[str, Any]:
    torque = is_torque()
    after = request.dependency
    tasks, _, at_once = (request.array or "").partition("%")
    return {
        "torque": torque,
        "name": _name(request.name)[: _TORQUE_NAME if torque else _NAME],
        "resources": _torque(request) if torque else _openpbs(request),
        "seconds": None if request.time is None else values.seconds(request.time),
        "tasks": tasks,
        "at_once": at_once,
        "after": after if after is None or ":" in after else f"afterany:{after}",
        "output": _output(request.output) if request.output else None,
        "files": [str(folder.path / name) for name in ("stdout", "stderr")],
        "kill_delay": _kill_delay(request.partition),
    }


def _name(name: str) -> str:
    """A name that PBS accepts: it must begin with a letter."""
    fit = _UNFIT.sub("_", name)
    return fit if fit[:1].isalpha() else f"j{fit}"


def _output(pattern: str) -> str:
    """A file name as a shell word, with sbatch's % placeholders filled in."""
    known = {"%A": '"$number"', "%j": '"$number"', "%a": '"$task"', "%x": '"$PBS_JOBNAME"'}
    parts = re.split("(%[Ajax])", pattern)
    return "".join(known.get(part, shlex.quote(part)) for part in parts if part)


def _openpbs(request: JobRequest) -> list[str]:
    """One chunk per node, each on a host of its own, with one process: that is a rank."""
    chunk = [f"{request.nodes}:ncpus={request.cpus_per_node or 1}", "mpiprocs=1"]
    if request.gpus_per_node is not None:
        chunk.append(f"ngpus={values.gpu_count(request.gpus_per_node)}")
    memory = _memory(request)
    if memory:
        chunk.append(f"mem={memory}")
    place = "scatter:excl" if request.exclusive else "scatter"
    return [f"select={':'.join(chunk)}", f"place={place}"]


def _torque(request: JobRequest) -> list[str]:
    node = [f"nodes={request.nodes}:ppn={request.cpus_per_node or 1}"]
    if request.gpus_per_node is not None:
        node.append(f"gpus={values.gpu_count(request.gpus_per_node)}")
    words = [":".join(node)]
    memory = _memory(request)
    if memory:
        # Torque counts memory per process.
        kilobytes = int(memory[:-2]) // (request.cpus_per_node or 1)
        words.append(f"pmem={kilobytes}kb")
    if request.exclusive:
        words.append("naccesspolicy=singlejob")
    return words


def _memory(request: JobRequest) -> str:
    if request.mem is None or not values.memory_bytes(request.mem):
        return ""
    return f"{values.memory_bytes(request.mem) >> 10}kb"


def _kill_delay(queue: str | None) -> int | None:
    """Seconds between SIGTERM and SIGKILL, the minimum over the queues that may run it."""
    done = attempt(["qstat", "-Qf", *([queue] if queue else [])])
    found = [int(number) for number in _KILL_DELAY.findall(done.stdout)]
    return min(found, default=None)
