"""The submit side of Grid Engine.

Created by `system`.  While a job is pending one `qstat` covers all of the user's jobs; after that
the job's folder has everything.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from rayhpc.batch import values
from rayhpc.batch.errors import OptionError, SchedulerError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import (
    Explanation,
    JobStatus,
    State,
    as_folder_tells,
    told_by_folders,
    worst_end,
)
from rayhpc.batch.rendering import render_job, uses_pyxis
from rayhpc.batch.request import JobRequest
from rayhpc.batch.sge import parallel
from rayhpc.batch.sge.commands import attempt, call, read_pairs
from rayhpc.batch.sge.listing import ask_accounts, ask_queue
from rayhpc.batch.sge.words import is_deleted, refusal
from rayhpc.batch.system import BatchSystem, Jobs

_ARRAY = re.compile(r"[1-9]\d*(-\d+(:\d+)?)?(%\d+)?")
_AFTER = re.compile(r"(afterany:)?\d+([:,]\d+)*")
_UNFIT = re.compile(r"[^\w.+-]|^(?=\d)")
_DURATION = re.compile(r"(\d+):(\d+):(\d+)")
_ONLY_ONE = ("JOB_ID", "SGE_TASK_ID", "PE_HOSTFILE", "RAYHPC_STEP")


class SgeJobs(Jobs):
    """Jobs of Grid Engine."""

    without = ("qos", "constraint", "reservation", "exclusive", "no_kill")

    def __init__(self, system: BatchSystem) -> None:
        super().__init__(system)
        self._there: list[parallel.Environment] | None = None

    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """The batch script.  Queries the parallel environments unless --sge names one."""
        _check(request)
        words = request.further.get("sge", ())
        slots = None if "-pe" in words else self._slots(request)
        return render_job(self.system, request, folder, _values(request, folder, slots))

    def notes(self, request: JobRequest) -> list[str]:
        """Options without meaning here, and a parallel environment that may give fewer hosts."""
        found = super().notes(request)
        if "-pe" not in request.further.get("sge", ()) and not self._slots(request).exact:
            found.append(
                "no parallel environment gives that many slots per host: one that fills hosts in "
                "turn is used, and may give more slots on fewer hosts"
            )
        return found

    def _slots(self, request: JobRequest) -> parallel.Slots:
        if self._there is None:
            self._there = parallel.environments(request.partition)
        return parallel.choose(request, self._there)

    def test(self, script: str) -> str:
        """Ask the scheduler whether the cluster could ever run it, and whether it could now."""
        call(["qsub", "-w", "v"], stdin=script)
        now = attempt(["qsub", "-w", "p"], stdin=script)
        return "it would run now" if now.returncode == 0 else "it would run, but not now"

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """One request to the qmaster; returns the job's id."""
        folder.script.write_text(script)
        folder.script.chmod(0o700)
        # -V copies our environment into the job.
        done = attempt(["qsub", "-terse", str(folder.script)], drop=_ONLY_ONE)
        if done.returncode != 0:
            text = done.stderr or done.stdout
            if "no suitable queues" in text:  # a separate query finds out why
                text = attempt(["qsub", "-w", "v", str(folder.script)]).stderr or text
            raise SchedulerError(refusal("qsub", text))
        said = done.stdout
        return said.strip().splitlines()[-1].partition(".")[0]

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """From the folders if they have the answer, else from one qstat, else from accounting."""
        found, unclear = told_by_folders(folders)
        if unclear:
            known = ask_queue(getpass.getuser())
            for name, folder in unclear.items():
                worst = worst_end(folder)
                if name in known and worst is not None and is_deleted(known[name].word):
                    # It stays in the queue as long as one of its hosts does not answer.
                    found[name] = JobStatus.of_summary(name, worst)
                elif name in known:
                    found[name] = as_folder_tells(known[name], folder)
            found.update(_gone({n: f for n, f in unclear.items() if n not in known}))
        return found

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """One qdel for all whole jobs, and one for each task of an array."""
        names = [folder.record().id for folder in folders if folder.record().id]
        whole = [name for name in names if "_" not in name]
        tasks = [name.split("_") for name in names if "_" in name]
        for argv in ([whole] if whole else []) + [[job, "-t", task] for job, task in tasks]:
            done = attempt(["qdel", *argv])
            lines = (done.stdout + done.stderr).splitlines()
            denied = [each for each in lines if each.startswith(("denied", "error"))]
            bad = [each for each in denied if "does not exist" not in each]
            if done.returncode != 0 and bad:
                raise SchedulerError(refusal("qdel", "\n".join(bad)))

    def explain(self, folder: JobFolder) -> Explanation:
        """Why it waits, and what would start sooner."""
        from rayhpc.batch.sge.explain import explain_job

        record = folder.record()
        return explain_job(record, folder.script, self.status([folder]).get(record.id))

    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """A task of the job, beside those running, on its first host."""
        record = folder.record()
        status = self.status([folder]).get(record.id)
        if status is None or status.state is not State.RUNNING or not status.nodes:
            how = "is unknown" if status is None else f"is {status.state.value}"
            raise SchedulerError(f"job {record.id} {how}: only a running job has a cluster")
        number, _, task = record.id.partition("_")
        environ = [f"JOB_ID={number}", f"SGE_TASK_ID={task or 'undefined'}"]
        inherit = ["qrsh", "-inherit", *(["-pty", "y"] if terminal else ["-nostdin"])]
        return ["env", *environ, *inherit, status.nodes, _in_bash(command)]


def _check(request: JobRequest) -> None:
    if request.gpus_per_node is not None:
        raise OptionError(
            "--gpus-per-node: Grid Engine knows GPUs only as a resource defined by the site; "
            "`qconf -sc` lists them: request it by name, with --sge '-l gpu=1'"
        )
    if request.array is not None and _ARRAY.fullmatch(request.array) is None:
        raise OptionError(
            f"--array {request.array}: Grid Engine takes one range from 1 on, like 1-10, 1-9:2 or "
            "1-100%4"
        )
    if request.dependency is not None and _AFTER.fullmatch(request.dependency) is None:
        raise OptionError(
            f"--dependency {request.dependency}: Grid Engine can only wait for jobs to end, "
            "successfully or not: write afterany:12:13"
        )
    if request.container is not None and uses_pyxis(request):
        raise OptionError("pyxis needs SLURM; here, give an image that apptainer can run")


def _values(request: JobRequest, folder: JobFolder, slots: parallel.Slots | None) -> dict[str, Any]:
    task = "" if request.array is None else ".$TASK_ID"
    tasks, _, at_once = (request.array or "").partition("%")
    output = request.output or str(folder.path / "stdout") + task
    for sbatch, own in (
        ("%A", "$JOB_ID"),
        ("%j", "$JOB_ID"),
        ("%a", "$TASK_ID"),
        ("%x", "$JOB_NAME"),
    ):
        output = output.replace(sbatch, own)
    return {
        "name": _UNFIT.sub("_", request.name),
        "slots": slots,
        "memory": _memory_of_a_slot(request, slots),
        "seconds": None if request.time is None else values.seconds(request.time),
        "tasks": tasks,
        "at_once": at_once,
        "after": ",".join(re.findall(r"\d+", request.dependency or "")),
        "output": output,
        "error": str(folder.path / "stderr") + task,
        "files": [str(folder.path / name) for name in ("stdout", "stderr")],
        "notify": _notify(request.partition),
    }


def _memory_of_a_slot(request: JobRequest, slots: parallel.Slots | None) -> str | None:
    """Resources are counted per slot."""
    if request.mem is None or not values.memory_bytes(request.mem):
        return None
    return f"{values.memory_bytes(request.mem) // (slots.each if slots else 1) >> 10}K"


def _notify(queue: str | None) -> int:
    """Seconds between the notice and the end, the minimum over the queues that may run it."""
    names = [queue.partition("@")[0]] if queue else call(["qconf", "-sql"]).split()
    found = []
    for name in names:
        match = _DURATION.search(read_pairs(call(["qconf", "-sq", name])).get("notify", ""))
        if match is not None:
            found.append(int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]))
    return min(found, default=60)


def _gone(folders: dict[str, JobFolder]) -> dict[str, JobStatus]:
    """Jobs that qstat does not know: the state from their folders, else from accounting."""
    found: dict[str, JobStatus] = {}
    for name, folder in folders.items():
        worst = worst_end(folder)
        if worst is not None:
            found[name] = JobStatus.of_summary(name, worst)
    found.update(ask_accounts([name for name in folders if name not in found]))
    return found


def _in_bash(command: Iterable[str]) -> str:
    """The command as one line for the user's login shell, in the current directory."""
    inner = f"cd {shlex.quote(os.getcwd())} 2>/dev/null; exec {shlex.join(command)}"
    return f"exec /bin/bash -c {shlex.quote(inner)}"
