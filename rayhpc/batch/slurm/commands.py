"""Runs SLURM's programs, each call making at most one request to its controller.

Used by `slurm` and `slurm_explain`.  Knows how they fail; what their messages mean is elsewhere.
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

    Raises SchedulerError with the program's own words and a remedy if it fails, is missing, or does
    not answer.
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
    """Like `call`, but the caller decides what a failure of the program itself means."""
    try:
        return programs.attempt(
            argv,
            "SLURM",
            stdin=stdin,
            seconds=seconds,
            drop=drop,
            more={"SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"},
        )
    except programs.NoAnswerError as error:
        raise SchedulerError(f"{error} (`scontrol ping` shows whether it is up)") from error


def has(program: str) -> bool:
    """Whether `program` is on PATH."""
    return shutil.which(program) is not None
