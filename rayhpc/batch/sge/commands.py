"""Runs Grid Engine's programs, each call making at most one request to its qmaster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence

from rayhpc.batch import programs
from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.sge.words import refusal


def call(argv: Sequence[str], *, stdin: str = "", drop: Iterable[str] = ()) -> str:
    """The standard output of a program.

    Raises SchedulerError with the program's own words and a remedy if it fails, is missing, or does
    not answer.
    """
    done = attempt(argv, stdin=stdin, drop=drop)
    if done.returncode != 0:
        raise SchedulerError(refusal(argv[0], done.stderr or done.stdout))
    return done.stdout


def attempt(
    argv: Sequence[str], *, stdin: str = "", drop: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Like `call`, but the caller decides what a failure of the program itself means."""
    return programs.attempt(
        argv, "Grid Engine", stdin=stdin, drop=drop, more={"SGE_SINGLE_LINE": "1"}
    )


def read_pairs(text: str) -> Mapping[str, str]:
    """The output of `qconf -s…`: a name and its value on each line."""
    pairs = (line.split(None, 1) for line in text.splitlines() if line.strip())
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}
