"""Running SLURM's programs, each call being at most one request to its controller.

Used by `slurm` and `slurm_explain`.  Knows how they fail; what their words mean is elsewhere.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence

from rayhpc.batch import programs
from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.slurm.words import refusal


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
    seconds: float = programs.SECONDS,
    drop: Iterable[str] = (),
) -> subprocess.CompletedProcess[str]:
    """As `call`, but a failure of the program itself is the caller's to judge."""
    try:
        return programs.attempt(
            argv,
            "SLURM",
            stdin=stdin,
            seconds=seconds,
            drop=drop,
            more={"SLURM_TIME_FORMAT": "standard"},
        )
    except programs.NoAnswerError as error:
        raise SchedulerError(f"{error} (`scontrol ping` tells whether it is up)") from error


def has(program: str) -> bool:
    """Whether `program` is on PATH."""
    return shutil.which(program) is not None
