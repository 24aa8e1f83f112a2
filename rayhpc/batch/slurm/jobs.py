"""The submit side of SLURM.

Created by `system`.  A submission is one request to the controller; while a job is pending the
controller is asked now and then, for all jobs at once; after that the job's folder has everything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Sequence

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import Explanation, JobStatus, State, told_by_folders, worst_end
from rayhpc.batch.rendering import render_job
from rayhpc.batch.request import JobRequest
from rayhpc.batch.slurm.accounts import with_accounts
from rayhpc.batch.slurm.commands import attempt, call, has
from rayhpc.batch.slurm.step import STEP_OPTIONS
from rayhpc.batch.slurm.version import installed_version
from rayhpc.batch.slurm.words import (
    end_in_words,
    is_hopeless,
    reason_in_words,
    refusal,
    state_of,
)
from rayhpc.batch.system import Jobs
from rayhpc.exit_codes import ExitCode, LaunchError

_FIELDS = "%F|%K|%T|%r|%S|%N"
_TIME = "%Y-%m-%dT%H:%M:%S"


class SlurmJobs(Jobs):
    """Jobs of SLURM."""

    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """The batch script."""
        suffix = "" if request.array is None else ".%a"
        own = {name: f"{folder.path}/{name}".replace("%", "%%") for name in ("stdout", "stderr")}
        files = [str(folder.path / name) for name in ("stdout", "stderr")]
        return render_job(
            self.system,
            request,
            folder,
            {
                "output": request.output or own["stdout"] + suffix,
                "error": own["stderr"] + suffix,
                "files": files,
                "step_options": list(STEP_OPTIONS),
            },
        )

    def test(self, script: str) -> str:
        """Ask the controller whether, when and where it would run."""
        done = attempt(["sbatch", "--test-only"], stdin=script)
        said = (done.stderr or done.stdout).strip()
        if done.returncode != 0:
            raise with_accounts(SchedulerError(refusal("sbatch", said)))
        return said.removeprefix("sbatch: ")

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """One request to the controller; returns the job's id.  A refused account costs another."""
        folder.script.write_text(script)
        folder.script.chmod(0o700)
        # sbatch copies its environment into the job.
        drop = ("SLURM_TIME_FORMAT", *of_another_allocation(os.environ))
        try:
            said = call(["sbatch", "--parsable", str(folder.script)], drop=drop)
        except SchedulerError as error:
            raise with_accounts(error) from error
        return said.strip().splitlines()[-1].split(";")[0]

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """From the folders if they have the answer, else from one request for all the others.

        A job that is in neither is left out.
        """
        found, unclear = told_by_folders(folders)
        if unclear:
            found.update(_asked(list(unclear.values())))
        return found

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """End them; those that have already ended are left alone."""
        ids = [folder.record().id for folder in folders if folder.record().id]
        if not ids:
            return
        done = attempt(["scancel", *ids])
        gone = ("Invalid job id", "already completing", "already finished")
        lines = [line for line in done.stderr.splitlines() if not any(g in line for g in gone)]
        if done.returncode != 0 and lines:
            raise SchedulerError(refusal("scancel", "\n".join(lines)))

    def explain(self, folder: JobFolder) -> Explanation:
        """Why it waits, and what would start sooner."""
        from rayhpc.batch.slurm.explain import explain_job

        record = folder.record()
        return explain_job(record, folder.script, self.status([folder]).get(record.id))

    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """A separate step beside the running one, on the job's first node."""
        overlap = ["--overlap"] if installed_version().steps_exclude_each_other else []
        pty = ["--pty"] if terminal else []
        foreign = of_another_allocation(os.environ)
        return [
            *("env", *(word for name in foreign for word in ("-u", name))),
            *("srun", f"--jobid={_number_of(folder)}", *overlap, "--mpi=none", "--quiet"),
            *("--nodes=1", "--ntasks=1", "--relative=0", "--cpu-bind=none", "--mem=0", *pty),
            *command,
        ]


def _number_of(folder: JobFolder) -> str:
    """The job id that srun needs; each running array task has an id of its own.

    Costs a request for such a task.  Raises LaunchError if it is not running.
    """
    name = folder.record().id
    if folder.task is None:
        return name
    done = attempt(["squeue", "--noheader", f"--jobs={name}", "--format", "%A|%T"])
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise SchedulerError(refusal("squeue", done.stderr))
    number, _, word = done.stdout.strip().partition("|")
    if word and state_of(word) is State.RUNNING:
        return number
    how = f"is {state_of(word).value}" if word else "has ended"
    raise LaunchError(
        f"task {name} {how}: only a running task has a cluster (`rayhpc status {name}` shows more)",
        ExitCode.HEAD_LOST,
    )


def of_another_allocation(environ: Iterable[str]) -> list[str]:
    """Variables by which an allocation around us would influence the new job."""
    keep = ("SLURM_CONF", "SLURM_CLUSTERS")
    return [name for name in environ if name.startswith(("SLURM_", "SRUN_")) and name not in keep]


def _asked(folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
    """What SLURM says about them, and what can be concluded for those that it does not know."""
    by_id = {each.record().id: each for each in folders}
    known = _ask_queue(list(by_id))
    missing = [each for each in by_id if each not in known]
    found = {each: known[each] for each in by_id if each in known}
    found.update(_ask_accounting(missing))
    for each in missing:
        concluded = _forgotten(by_id[each], known)
        if each not in found and concluded is not None:
            found[each] = concluded
    return found


def _forgotten(folder: JobFolder, known: Container[str]) -> JobStatus | None:
    record, worst = folder.record(), worst_end(folder)
    if worst is not None:
        return JobStatus.of_summary(record.id, worst)
    if folder.task is not None and record.id.partition("_")[0] in known:
        # SLURM keeps no record of a task dropped from a waiting array.
        reason = "it was cancelled before it started"
        return JobStatus(record.id, State.CANCELLED, "CANCELLED", reason)
    return None


def _ask_queue(ids: Sequence[str]) -> dict[str, JobStatus]:
    """Everything squeue says about these jobs, under every name: `12_3`, and `12` for the array."""
    # One line per waiting array task only if single tasks were asked for.
    single = ["--array"] if any("_" in each for each in ids) else []
    jobs = dict.fromkeys(each.partition("_")[0] for each in ids)
    which = ["--noheader", "--states=all", *single, f"--jobs={','.join(jobs)}"]
    done = attempt(["squeue", *which, "--format", _FIELDS])
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise SchedulerError(refusal("squeue", done.stderr))
    rows: dict[str, JobStatus] = {}
    for line in done.stdout.splitlines():
        fields = line.split("|")
        if len(fields) != 6:
            continue
        job, task, *rest = fields
        # An array has the state of its least advanced task.
        for name in (job, f"{job}_{task}"):
            if name not in rows or rows[name].state.ended:
                rows[name] = _from_row(name, *rest)
    return rows


def _from_row(job_id: str, word: str, reason: str, start: str, nodes: str) -> JobStatus:
    state = state_of(word)
    if state is not State.PENDING:
        closing = word == "COMPLETING"
        return JobStatus(
            job_id, state, word, end_in_words(word), _time(start), nodes, closing=closing
        )
    hopeless, words = is_hopeless(reason), reason_in_words(reason)
    return JobStatus(job_id, state, word, words, _time(start), nodes, hopeless=hopeless)


def _ask_accounting(ids: Sequence[str]) -> dict[str, JobStatus]:
    """Jobs that the controller has forgotten; nothing if the site keeps no accounting."""
    if not ids or not has("sacct"):
        return {}
    columns = "JobID,State,ExitCode,Start,NodeList"
    done = attempt(["sacct", "-X", "-n", "-P", "-j", ",".join(ids), "-o", columns])
    found: dict[str, JobStatus] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        fields = line.split("|")
        if len(fields) != 5:
            continue
        job_id, word, code, start, nodes = fields
        number, _, signal = code.partition(":")
        exit_code = 128 + int(signal) if signal not in ("", "0") else int(number or 0)
        for name in {job_id.split("_")[0], job_id}.intersection(ids):
            found[name] = JobStatus(
                name, state_of(word), word, end_in_words(word), _time(start), nodes, exit_code
            )
    return found


def _time(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text, _TIME))
    except ValueError:
        return None
