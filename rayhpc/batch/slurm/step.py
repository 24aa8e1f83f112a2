"""The step that `rayhpc run` starts for itself if the user did not put `srun` before it.

Called once by `rayhpc run`, before anything else, in a batch script or in a shell inside an
allocation.  One task per node, each with everything the allocation has on that node.  Only composes
the command: never runs it, never asks the controller.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

from rayhpc.batch.slurm.facts import in_step, present
from rayhpc.batch.slurm.hostlist import decode_counts
from rayhpc.batch.slurm.version import SlurmVersion, installed_version
from rayhpc.exit_codes import ExitCode, LaunchError

# rayhpc deals with lost nodes and dead ranks itself, so SLURM must not end the step for them; nor
# may it start a PMI server, in which a program importing MPI would wait for ranks that never call.
STEP_OPTIONS = ("--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--mpi=none", "--export=ALL")

# Variables that srun would inherit from the job although they describe tasks that we do not start.
_OF_OTHER_TASKS = (
    "SLURM_GPUS_PER_TASK",
    "SLURM_NTASKS_PER_GPU",
    "SLURM_NTASKS_PER_CORE",
    "SLURM_NTASKS_PER_SOCKET",
    "SLURM_TRES_PER_TASK",
    "SLURM_CPUS_PER_TASK",
    "SRUN_CPUS_PER_TASK",
    "SLURM_PTY_PORT",
    "SLURM_PTY_WIN_COL",
    "SLURM_PTY_WIN_ROW",
)


def step_command(
    environ: Mapping[str, str],
    argv: Sequence[str],
    *,
    version: Callable[[], SlurmVersion] = installed_version,
    which: Callable[[str], str | None] = shutil.which,
    terminal: bool | None = None,
) -> list[str] | None:
    """The command that runs `argv` once on every node of this allocation.

    None if there is no SLURM allocation, if this process is already a rank, or if this is the
    batch script of a one-node job: then `argv` runs right here.  `terminal` says whether the user
    is at a terminal, which the program then gets, too; None: find out.  Raises LaunchError, with a
    remedy, if srun is needed and missing.
    """
    if not _needs_step(environ):
        return None
    srun = which("srun")
    if srun is None:
        raise LaunchError(
            "this is a SLURM allocation of several nodes, but srun is not on PATH: load SLURM's "
            "module, or write `srun rayhpc run -- …` outside the container",
            ExitCode.SCHEDULER,
        )
    unset = [name for name in _OF_OTHER_TASKS if name in environ]
    prefix = ["env", *(word for name in unset for word in ("-u", name))] if unset else []
    if terminal is None:
        terminal = os.isatty(0) and os.isatty(1)
    pty = ["--pty"] if terminal else []
    return [*prefix, srun, *_options(environ, version()), *pty, *argv]


def _needs_step(environ: Mapping[str, str]) -> bool:
    if not present(environ):
        return False
    if in_step(environ):
        return _is_interactive_step(environ)
    alone = _number(environ, "SLURM_JOB_NUM_NODES", "SLURM_NNODES") == 1
    in_batch_script = environ.get("ENVIRONMENT") == "BATCH"
    return not (alone and in_batch_script and "SLURM_HET_SIZE" not in environ)


def _is_interactive_step(environ: Mapping[str, str]) -> bool:
    """`srun --pty bash`: one task, in a larger allocation."""
    tasks = _number(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    nodes = _number(environ, "SLURM_JOB_NUM_NODES")
    return "SLURM_PTY_PORT" in environ and tasks == 1 and nodes > 1


def _options(environ: Mapping[str, str], version: SlurmVersion) -> Iterator[str]:
    yield from STEP_OPTIONS
    if version.steps_exclude_each_other:
        yield "--overlap"
    components = _number(environ, "SLURM_HET_SIZE", default=0)
    if components:
        group = "--het-group" if version.says_het else "--pack-group"
        yield f"{group}=0-{components - 1}"
        yield "--ntasks-per-node=1"
        return
    nodes = _number(environ, "SLURM_JOB_NUM_NODES", "SLURM_NNODES")
    yield f"--nodes={nodes}"
    yield f"--ntasks={nodes}"
    yield "--ntasks-per-node=1"
    yield from _processors(environ)
    yield from _gpus(environ)


def _processors(environ: Mapping[str, str]) -> Iterator[str]:
    """All processors of each node: by number if equal everywhere, else by not binding to fewer."""
    counts = set(decode_counts(environ.get("SLURM_JOB_CPUS_PER_NODE", "")))
    if len(counts) == 1:
        yield f"--cpus-per-task={counts.pop()}"
    else:
        yield "--cpu-bind=none"


def _gpus(environ: Mapping[str, str]) -> Iterator[str]:
    """A job that requested GPUs per task has as many per node as it has tasks there."""
    per_task = environ.get("SLURM_GPUS_PER_TASK", "")
    tasks = set(decode_counts(environ.get("SLURM_TASKS_PER_NODE", "")))
    kind, _, number = per_task.rpartition(":")
    if number.isdigit() and len(tasks) == 1:
        total = int(number) * tasks.pop()
        yield f"--gpus-per-node={kind}:{total}" if kind else f"--gpus-per-node={total}"


def _number(environ: Mapping[str, str], *names: str, default: int = 1) -> int:
    for name in names:
        if environ.get(name, "").isdigit():
            return int(environ[name])
    return default
