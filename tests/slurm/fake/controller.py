"""The fake slurmctld: takes requests, starts jobs, ends them, one thread in one loop.

Started by the tests with the cluster's folder; ends with its parent.  `python -m
tests.slurm.fake.controller FOLDER`.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tests.slurm.fake import stepd
from tests.slurm.fake.environment import batch_environment, pattern
from tests.slurm.fake.model import Job
from tests.slurm.fake.options import minutes
from tests.slurm.fake.settings import Settings

TICK_S = 0.02
PARTITIONS = ("debug", "scavenge")
_CONFIGURATION = "Requested node configuration is not available"
_GRES = "Invalid generic resource (gres) specification"


class RefusedError(Exception):
    """What the controller says instead of doing it."""


class Controller:
    """All jobs and nodes of one fake cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[int, Job] = {}
        self.down: set[str] = set()
        self.next_id = 1

    # -- requests
    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request's answer; every one is noted in rpc.log."""
        settings = Settings.load(self.folder)
        verb = request.pop("verb")
        if not verb.startswith("test_"):
            with open(self.folder / "rpc.log", "a") as log:
                log.write(f"{time.time():.3f} {verb}\n")
            if settings.answer_delay:
                time.sleep(settings.answer_delay)
            if settings.error:
                return {"error": settings.error}
        try:
            answer = getattr(self, "on_" + verb)(settings, **request)
            return answer if answer is not None else {}
        except RefusedError as refusal:
            return {"error": str(refusal)}

    def on_ping(self, settings: Settings) -> None:
        """scontrol ping."""

    def on_submit(
        self,
        settings: Settings,
        script: str,
        options: dict[str, Any],
        environ: dict[str, str],
        arguments: list[str],
        tasks: list[int],
        throttle: int,
        test: bool,
    ) -> dict[str, Any]:
        """sbatch."""
        self._check(settings, options)
        nodes = options["nodes"] or 1
        if test and nodes > settings.nodes:
            raise RefusedError(_CONFIGURATION)
        cpus = _cpus(settings, options)
        if test:
            start = self._expected(settings, options, nodes, cpus)
            return {"start": start, "nodes": nodes, "cpus": cpus * nodes}
        first = self.next_id
        for task in tasks or [None]:  # type: ignore[list-item]
            job = Job(self.next_id, script, options, environ, arguments, nodes, cpus)
            job.task, job.array, job.throttle = task, first if tasks else 0, throttle
            job.not_before = time.time() + settings.queue_delay
            job.reason = "None" if not settings.queue_delay else settings.reason
            if options["begin"]:  # `now+1hour` is all there is
                job.not_before, job.reason = job.not_before + 3600, "BeginTime"
            self.jobs[job.id] = job
            self.next_id += 1
        return {"id": first}

    def on_allocate(
        self, settings: Settings, options: dict[str, Any], environ: dict[str, str]
    ) -> dict[str, Any]:
        """srun from the login node: an allocation without a batch script."""
        self._check(settings, options)
        nodes, cpus = options["nodes"] or 1, _cpus(settings, options)
        job = Job(self.next_id, "", options, environ, [], nodes, cpus)
        self.next_id += 1
        free = self._free(settings, job)
        if free is None:
            raise RefusedError("Unable to allocate resources: Resources are busy")
        job.allotted, job.state, job.started = free, "RUNNING", time.time()
        self.jobs[job.id] = job
        return self._place(settings, job)

    def on_step(self, settings: Settings, job: int) -> dict[str, Any]:
        """srun inside an allocation, or with --jobid."""
        found = self.jobs.get(job)
        if found is None or found.state != "RUNNING":
            raise RefusedError("Unable to confirm allocation for job: Invalid job id specified")
        return self._place(settings, found)

    def on_task(self, settings: Settings, job: int, pid: int, node: str) -> None:
        """A step's task has started."""
        self.jobs[job].keepers[pid] = node
        if node in self.down or self.jobs[job].cancelled:
            self._end_keeper(pid)

    def on_done(self, settings: Settings, job: int, code: int) -> None:
        """An allocation of srun's own is given back."""
        self._finish(self.jobs[job], code)

    def on_queue(self, settings: Settings, jobs: list[str] | None) -> dict[str, Any]:
        """squeue."""
        horizon = time.time() - settings.forgets_after
        known = [job for job in self.jobs.values() if not (job.over and job.ended < horizon)]
        if jobs is not None:
            known = [job for job in known if job.names.intersection(jobs)]
            if not known and len(jobs) == 1:
                raise RefusedError("Invalid job id specified")
        rows = [job.row() for job in known]
        for row, job in zip(rows, known, strict=True):
            if job.state == "PENDING":
                row["start"] = self._start_of(settings, job)
        return {"rows": rows}

    def on_account(self, settings: Settings, jobs: list[str]) -> dict[str, Any]:
        """sacct."""
        if not settings.accounting:
            raise RefusedError("Slurm accounting storage is disabled")
        return {"rows": [job.row() for job in self.jobs.values() if job.names.intersection(jobs)]}

    def on_cancel(
        self, settings: Settings, jobs: list[str], signal_name: str, state: str
    ) -> dict[str, Any]:
        """scancel."""
        errors = []
        for name in jobs:
            found = [job for job in self.jobs.values() if name in job.names]
            if not found:
                errors.append(f"Kill job error on job id {name}: Invalid job id specified")
            for job in found:
                if state in ("", job.state):
                    self._cancel(settings, job, signal_name)
        return {"errors": errors}

    def on_throttle(self, settings: Settings, job: int, throttle: int) -> None:
        """scontrol update JobId=… ArrayTaskThrottle=…."""
        found = [each for each in self.jobs.values() if each.array == job]
        if not found:
            raise RefusedError("Invalid job id specified")
        for each in found:
            each.throttle = throttle

    def on_requeue(self, settings: Settings, job: int) -> None:
        """scontrol requeue."""
        self._end_all(self.jobs[job])
        self._requeue(self.jobs[job])

    def on_info(self, settings: Settings) -> dict[str, Any]:
        """sinfo."""
        busy = {name for job in self._running() for name in job.allotted}
        names = settings.names()
        idle = [each for each in names if each not in busy | self.down]
        return {"idle": len(idle), "busy": len(busy), "down": len(self.down), "total": len(names)}

    def on_associations(self, settings: Settings) -> dict[str, Any]:
        """scontrol show assoc_mgr."""
        return {"accounts": [] if settings.private else settings.accounts}

    def on_test_node(self, settings: Settings, node: str, up: bool) -> None:
        """A node loses power, or gets it back."""
        if up:
            self.down.discard(node)
            return
        self.down.add(node)
        for job in self._running():
            if node in job.allotted:
                for pid in [pid for pid, where in job.keepers.items() if where == node]:
                    self._end_keeper(pid)
                if not job.options["no_kill"] or node == job.allotted[0]:
                    self._end_all(job)
                    if job.options["no_requeue"]:
                        self._finish(job, 1, "NODE_FAIL")
                    else:
                        self._requeue(job)

    # -- the loop's work
    def tick(self) -> None:
        """Reap, start what can start, end what is over its time."""
        self._reap()
        settings, now = Settings.load(self.folder), time.time()
        for job in list(self.jobs.values()):
            if job.state == "PENDING" and now >= job.not_before:
                self._try(settings, job)
            elif job.state == "RUNNING":
                if now >= _limit(job) and not job.cancelled:
                    self._ask_to_end(settings, job, "TIMEOUT")
                if job.kill_at and now >= job.kill_at:
                    self._end_all(job)
                    self._finish(job, 0, job.cancelled)

    def _try(self, settings: Settings, job: Job) -> None:
        running = sum(each.array == job.array for each in self._running())
        if job.throttle and running >= job.throttle:
            job.reason = "JobArrayTaskLimit"
            return
        free = self._free(settings, job)
        if free is None:
            self._preempt(settings, job)
            job.reason = "Resources" if job.nodes <= settings.nodes else "PartitionConfig"
            return
        job.allotted, job.state, job.started = free, "RUNNING", time.time()
        script = self.folder / f"script.{job.id}.{job.restarts}"
        script.write_text(job.script)
        script.chmod(0o700)
        directory = str(job.options["chdir"] or job.environ.get("PWD", "/"))
        try:
            files = self._files(job, directory)
        except OSError:
            self._finish(job, 1, "FAILED")
            return
        environ = batch_environment(settings, job)
        command = [str(script), *job.arguments]
        job.batch = stepd.spawn(command, environ, directory, files)
        job.keepers[job.batch] = free[0]
        for each in set(files):
            os.close(each)

    def _preempt(self, settings: Settings, job: Job) -> None:
        """Jobs of the lower partition make room, as under PreemptMode=REQUEUE."""
        if job.options["partition"] != "scavenge" and job.nodes <= settings.nodes:
            for other in self._running():
                if other.options["partition"] == "scavenge" and not other.cancelled:
                    self._ask_to_end(settings, other, "PREEMPTED")

    def _files(self, job: Job, directory: str) -> tuple[int, int, int]:
        mode = os.O_APPEND if job.options["open_mode"] == "append" else os.O_TRUNC
        flags = os.O_WRONLY | os.O_CREAT | mode
        default = "slurm-%A_%a.out" if job.task is not None else "slurm-%j.out"
        names = [job.options["output"] or default, job.options["error"]]
        paths = [os.path.join(directory, pattern(str(each), job)) for each in names if each]
        opened = [os.open(path, flags, 0o644) for path in paths]
        return os.open(os.devnull, os.O_RDONLY), opened[0], opened[-1]

    def _free(self, settings: Settings, job: Job) -> list[str] | None:
        used = dict.fromkeys(settings.names(), 0)
        for each in self._running():
            for name in each.allotted:
                used[name] += each.cpus
        fit = [
            name
            for name, cpus in used.items()
            if name not in self.down and cpus + job.cpus <= settings.cpus
        ]
        return fit[: job.nodes] if len(fit) >= job.nodes else None

    def _room_at(self, settings: Settings, job: Job) -> float:
        """When what runs leaves room for a job."""
        if self._free(settings, job) is not None:
            return time.time()
        return max((_limit(other) for other in self._running()), default=time.time())

    def _start_of(self, settings: Settings, job: Job) -> float:
        """What is told of a waiting job; 0: nothing."""
        if job.not_before > time.time():
            return job.not_before
        return self._room_at(settings, job) if job.nodes <= settings.nodes else 0

    def _expected(
        self, settings: Settings, options: dict[str, Any], nodes: int, cpus: int
    ) -> float:
        """Of one more job: after all that waits in its partition, as SLURM reckons."""
        waiting = sum(
            job.nodes * minutes(job.options["time"])  # type: ignore[arg-type]
            for job in self.jobs.values()
            if job.state == "PENDING" and job.options["partition"] == options["partition"]
        )
        probe = Job(0, "", options, {}, [], nodes, cpus)
        return self._room_at(settings, probe) + 60 * (waiting // settings.nodes)

    def _check(self, settings: Settings, options: dict[str, Any]) -> None:
        if options["partition"] not in PARTITIONS:
            raise RefusedError("invalid partition specified: " + options["partition"])
        if settings.accounts and options["account"] not in (None, *settings.accounts):
            raise RefusedError("Invalid account or account/partition combination specified")
        if (options["cpus_per_task"] or 1) > settings.cpus:
            raise RefusedError(_CONFIGURATION)
        if options["qos"] is not None:
            raise RefusedError("Invalid qos specification")
        if options["constraint"] is not None:
            raise RefusedError("Invalid feature specification")
        if options["reservation"] is not None:
            raise RefusedError("Requested reservation is invalid")
        if int((options["gpus_per_node"] or "0").rpartition(":")[2]) > settings.gpus:
            raise RefusedError(_GRES)

    def _place(self, settings: Settings, job: Job) -> dict[str, Any]:
        job.steps += 1
        return {
            "job": job.id,
            "step": job.steps - 1,
            "nodes": job.allotted,
            "cpus": job.cpus,
            "name": job.options["job_name"] or "job",
            "gpus": job.options["gpus_per_node"],
        }

    def _running(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == "RUNNING"]

    # -- ends
    def _cancel(self, settings: Settings, job: Job, signal_name: str) -> None:
        if job.over:
            return
        if signal_name == "KILL":
            self._end_all(job)
        elif signal_name:
            number = getattr(signal, "SIG" + signal_name)
            stepd.signal_all([pid for pid in job.keepers if pid != job.batch], number)
        elif job.state == "PENDING":
            self._finish(job, 0, "CANCELLED")
        else:
            self._ask_to_end(settings, job, "CANCELLED")

    def _ask_to_end(self, settings: Settings, job: Job, state: str) -> None:
        job.cancelled, job.kill_at = state, time.time() + settings.kill_wait
        stepd.signal_all(job.keepers, signal.SIGTERM)

    def _end_keeper(self, pid: int) -> None:
        """Everything of one task, at once."""
        stepd.kill_descendants(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _end_all(self, job: Job) -> None:
        for pid in list(job.keepers):
            self._end_keeper(pid)

    def _finish(self, job: Job, code: int, state: str = "") -> None:
        if job.cancelled == "PREEMPTED" and not job.options["no_requeue"]:
            self._requeue(job)
            return
        job.ended, job.code = time.time(), code
        job.state = state or job.cancelled or ("FAILED" if code else "COMPLETED")
        job.batch, job.kill_at = 0, 0.0
        job.keepers.clear()

    def _requeue(self, job: Job) -> None:
        job.state, job.reason, job.restarts = "PENDING", "BeginTime", job.restarts + 1
        job.not_before = time.time() + 0.3
        job.batch, job.kill_at, job.cancelled = 0, 0.0, ""
        job.keepers.clear()
        job.allotted = []

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for job in self._running():
                if job.batch == pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._end_all(job)
                    self._finish(job, 128 - code if code < 0 else code)


def _limit(job: Job) -> float:
    """When a running job is over its time."""
    return job.started + 60 * minutes(job.options["time"])  # type: ignore[arg-type]


def _cpus(settings: Settings, options: dict[str, Any]) -> int:
    """What each node gives."""
    if options["exclusive"]:
        return settings.cpus
    return int(options["cpus_per_task"] or 1) * int(options["ntasks_per_node"] or 1)


def main(folder: Path) -> None:
    """Serve until the parent ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    controller = Controller(folder)

    def end(number: int, frame: object) -> None:
        for job in controller.jobs.values():
            controller._end_all(job)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / "ctl"))
    listener.listen(64)
    print("ready", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        if selector.select(TICK_S):
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as file:
                line = file.readline()
                if line:
                    answer = controller.serve(json.loads(line))
                    try:
                        connection.sendall(json.dumps(answer).encode() + b"\n")
                    except OSError:
                        pass
        controller.tick()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
