"""Running SLURM's programs, each call being at most one request to its controller.

Used by `slurm` and `slurm_explain`.  Knows how they fail; what their words mean is elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.slurm.words import refusal

# slurmctld may be slow under load; beyond this it is as good as down.
SECONDS = 60.0


def call(argv: Sequence[str], *, drop: Iterable[str] = ()) -> str:
    """The standard output of one of SLURM's programs, run without the variables in `drop`.

    Raises SchedulerError with its own words and what to do when it fails, is missing, or does not
    answer.
    """
    done = attempt(argv, drop=drop)
    if done.returncode != 0:
        raise SchedulerError(refusal(argv[0], done.stderr or done.stdout))
    return done.stdout


def attempt(
    argv: Sequence[str],
    *,
    stdin: str = "",
    seconds: float = SECONDS,
    drop: Iterable[str] = (),
) -> subprocess.CompletedProcess[str]:
    """As `call`, but a failure of the program itself is the caller's to judge."""
    environ = {**os.environ, "SLURM_TIME_FORMAT": "standard"}
    for name in drop:
        environ.pop(name, None)
    try:
        return subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=environ,
        )
    except FileNotFoundError as error:
        raise SchedulerError(
            f"{argv[0]} is not on PATH: load SLURM's module, or use --scheduler local"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(
            f"{argv[0]} got no answer from SLURM's controller in {seconds:.0f} s; try again later "
            "(`scontrol ping` tells whether it is up)"
        ) from error


def has(program: str) -> bool:
    """Whether `program` is on PATH."""
    return shutil.which(program) is not None
