"""Runs a batch system's own programs.

Used by the submit side of each batch system that has programs.  Knows how they fail; what their
messages mean is in each system's own table.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from rayhpc.batch.errors import SchedulerError

# A controller may be slow under load; beyond this it counts as down.
SECONDS = 60.0


class NoAnswerError(SchedulerError):
    """The controller did not answer in time."""


def attempt(
    argv: Sequence[str],
    title: str,
    *,
    stdin: str = "",
    seconds: float = SECONDS,
    drop: Iterable[str] = (),
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program of the batch system `title`; the caller decides what its failure means.

    Args:
        argv: the command.
        title: the batch system's name in sentences.
        stdin: its standard input.
        seconds: the time limit.
        drop: variables to remove from its environment.
        more: variables to add.

    Raises:
        SchedulerError: it is missing, or (NoAnswerError) does not answer.
    """
    environ = {**os.environ, **(more or {})}
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
            f"{argv[0]} is not on PATH: load {title}'s module, or use --scheduler local"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(
            f"{argv[0]} got no answer from {title}'s controller in {seconds:.0f} s; try again later"
        ) from error
