"""Jobs on a machine without a batch system: several nodes on this machine, as our children.

Created by `system`.  Each node is one `rayhpc run` with its own address in 127/8 and its share of
the processors, memory and GPUs.  They live and die with the command that started them; nothing is
detached.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace

from rayhpc.batch.errors import OptionError
from rayhpc.batch.folder import JobFolder, Summary
from rayhpc.batch.job_status import Explanation, JobStatus, Say, State
from rayhpc.batch.local.pump import LocalNodes, Node
from rayhpc.batch.local.share import Share, share_of
from rayhpc.batch.rendering import render_job, uses_pyxis
from rayhpc.batch.request import JobRequest
from rayhpc.batch.system import BatchSystem, Jobs
from rayhpc.machine.processes import boot_id, die_with_parent, is_same_process, send_signal
from rayhpc.machine.processes import start_time as start_of
from rayhpc.machine.signals import default_in_child

# Options that only a batch system can serve; they are mentioned once and left out.
_ELSEWHERE = (
    "time",
    "partition",
    "account",
    "qos",
    "constraint",
    "reservation",
    "exclusive",
    "requeue",
    "no_kill",
)
_LOOPBACK = 127 << 24
# Each is a process with workers below it.
_MOST_NODES = 1000


class LocalJobs(Jobs):
    """Jobs on this machine."""

    without = _ELSEWHERE

    def __init__(self, system: BatchSystem) -> None:
        super().__init__(system)
        self._running: LocalNodes | None = None

    def render(self, request: JobRequest, folder: JobFolder) -> str:
        """The command that each node runs."""
        _check(request)
        share = share_of(os.environ, request)
        return render_job(self.system, request, folder, {"node_options": share.options()})

    def test(self, script: str) -> str:
        """There is nothing to ask."""
        return "this machine would run it at once"

    def submit(self, request: JobRequest, folder: JobFolder, script: str) -> str:
        """Start all nodes; they end with this process."""
        folder.script.write_text(script)
        folder.script.chmod(0o700)
        owner = {"pid": os.getpid(), "started": start_of(os.getpid()), "boot": boot_id()}
        job_id = folder.take_local_id()
        folder.set_record(replace(folder.record(), owner=owner))
        share = share_of(os.environ, request)
        self._running = _start(request, folder, share, job_id)
        return job_id

    def follow(self, folder: JobFolder, say: Say, quiet: bool = False) -> int:
        """Run our own nodes to their end; for those of another command, follow the folder."""
        if self._running is None:
            return super().follow(folder, say, quiet)
        started = time.time()
        code = self._running.to_the_end()
        folder.set_summary(
            Summary(code, started, time.time(), f"{folder.record().nodes} on this machine")
        )
        return code

    def status(self, folders: Sequence[JobFolder]) -> dict[str, JobStatus]:
        """From the folder, and from whether the command that runs the job is still there."""
        found: dict[str, JobStatus] = {}
        for folder in folders:
            record, summary = folder.record(), folder.summary()
            if summary is not None:
                status = JobStatus.of_summary(record.id, summary)
            elif _owner_lives(record.owner):
                status = JobStatus(record.id, State.RUNNING, "RUNNING", start=record.submitted)
            else:
                reason = "the command that ran it was killed, and the job with it"
                status = JobStatus(record.id, State.LOST, "LOST", reason)
            found[record.id] = status
        return found

    def cancel(self, folders: Sequence[JobFolder]) -> None:
        """Tell the commands that run the jobs to end."""
        for folder in folders:
            owner = folder.record().owner
            if folder.summary() is None and _owner_lives(owner):
                send_signal(owner["pid"], owner["started"], signal.SIGTERM)

    def explain(self, folder: JobFolder) -> Explanation:
        """Local jobs never wait."""
        status = self.status([folder])[folder.record().id]
        code = "" if status.exit_code is None else f" with exit code {status.exit_code}"
        reason = f": {status.reason}" if status.reason else ""
        return Explanation([f"job {status.id} is {status.state.value}{code}{reason}"], [])

    def on_head(self, folder: JobFolder, command: Sequence[str], terminal: bool) -> list[str]:
        """The command itself: it runs on this machine."""
        return list(command)


def address(rank: int) -> str:
    """The loopback address of a rank: 127.0.0.1, 127.0.0.2, …, 127.0.0.254, 127.0.1.1, …"""
    block, last = divmod(rank, 254)
    number = _LOOPBACK + (block << 8) + last + 1
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def _check(request: JobRequest) -> None:
    if request.nodes > _MOST_NODES:
        raise OptionError(
            f"--nodes {request.nodes}: without a batch system all nodes are on this machine, "
            f"at most {_MOST_NODES} of them; submit where there is one"
        )
    for name in ("array", "dependency"):
        if getattr(request, name) is not None:
            raise OptionError(
                f"--{name} needs a batch system, and this machine has none: start the tasks "
                "one by one, or submit where sbatch is available"
            )
    if request.container is not None and uses_pyxis(request):
        raise OptionError("pyxis needs SLURM; here, give an image that apptainer can run")
    if request.output is not None and "%" in request.output:
        raise OptionError(f"--output {request.output}: only a batch system knows % names")


def _start(request: JobRequest, folder: JobFolder, share: Share, job_id: str) -> LocalNodes:
    nodes = LocalNodes(folder.output("stdout"), folder.output("stderr"))
    try:
        for rank in range(request.nodes):
            environ = {**os.environ, **share.environ(rank), "RAYHPC_JOB_ID": job_id}
            nodes.add(_start_node(folder, rank, environ))
    except BaseException:
        nodes.stop()
        raise
    return nodes


def _start_node(folder: JobFolder, rank: int, environ: dict[str, str]) -> Node:
    log = os.open(
        folder.node_logs / f"{address(rank)}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    me = os.getpid()

    def prepare() -> None:
        # Its own process group: Ctrl-C reaches the program once, forwarded by us, not twice.
        os.setpgid(0, 0)
        default_in_child()
        if not die_with_parent(me, signal.SIGTERM):
            os._exit(128 + signal.SIGTERM)

    try:
        process = subprocess.Popen(
            ["/bin/bash", str(folder.script), str(rank), address(rank)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if rank == 0 else log,
            stderr=subprocess.PIPE if rank == 0 else log,
            env=environ,
            # Safe although it runs Python after the fork: this command is single-threaded.
            preexec_fn=prepare,  # noqa: PLW1509
        )
    finally:
        os.close(log)
    return Node(rank, process)


def _owner_lives(owner: dict[str, object]) -> bool:
    pid, started = owner.get("pid"), owner.get("started")
    if not isinstance(pid, int) or not isinstance(started, int) or owner.get("boot") != boot_id():
        return False
    return is_same_process(pid, started)
