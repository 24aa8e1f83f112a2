"""Replacing this process by another program, as the last thing that a command does.

Used by the commands that end in a shell, a Python or an ssh.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from rayhpc.exit_codes import ExitCode, LaunchError


def become(command: list[str]) -> NoReturn:
    """Replace this process.  Raises LaunchError if there is no such program."""
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise LaunchError(
            f"{command[0]} cannot be started: {error.strerror}", ExitCode.SCHEDULER
        ) from error
