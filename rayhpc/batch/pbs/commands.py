"""Runs PBS's programs, each call making at most one request to its server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache

from rayhpc.batch import programs
from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.pbs.words import refusal


def call(argv: Sequence[str], *, drop: Iterable[str] = ()) -> str:
    """The standard output of a program.

    Raises SchedulerError with the program's own words and a remedy if it fails, is missing, or does
    not answer.
    """
    done = attempt(argv, drop=drop)
    if done.returncode != 0:
        raise SchedulerError(refusal(argv[0], done.stderr or done.stdout))
    return done.stdout


def attempt(argv: Sequence[str], *, drop: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    """Like `call`, but the caller decides what a failure of the program itself means."""
    return programs.attempt(argv, "PBS", drop=drop)


@cache
def is_torque() -> bool:
    """Whether these are Torque's programs rather than OpenPBS's; asks no server."""
    done = attempt(["qstat", "--version"])
    return re.search(r"pbs_version\s*=", done.stdout + done.stderr) is None
