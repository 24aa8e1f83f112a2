"""The user's program as a child of rank 0.

Used by `head_rank`.  It runs in our process group, with our terminal, and ends with us even if we
are killed.  Signals go only to this process, never to a group or a name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from rayhpc.exit_codes import ExitCode, LaunchError, exit_code_of
from rayhpc.machine.processes import die_with_parent
from rayhpc.machine.signals import default_in_child


class DriverProcess:
    """The program, from start to exit code.

    Args:
        command: the program and its arguments.
        environ: its environment.

    Raises:
        LaunchError: there is no such program, or it cannot be run.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        me = os.getpid()

        def prepare() -> None:
            default_in_child()
            if not die_with_parent(me, signal.SIGKILL):
                os._exit(128 + signal.SIGKILL)

        try:
            # Safe although it runs Python after the fork: `rayhpc run` is single-threaded.
            self._process = subprocess.Popen(
                list(command),
                env=dict(environ),
                preexec_fn=prepare,  # noqa: PLW1509
            )
        except OSError as error:
            raise _cannot_run(command[0], environ, error) from None

    @property
    def pid(self) -> int:
        """The program's pid."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code as a shell reports it, or None while the program runs."""
        code = self._process.poll()
        return None if code is None else exit_code_of(code)

    def send(self, number: int) -> None:
        """Forward a signal; does nothing if the program has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and wait until it has ended."""
        self._process.kill()
        self._process.wait()


def _cannot_run(program: str, environ: Mapping[str, str], error: OSError) -> LaunchError:
    if shutil.which(program, path=environ.get("PATH")) is None and "/" not in program:
        return LaunchError(
            f"there is no program {program!r} on PATH: give its path, or activate the environment "
            "that it belongs to (for Python scripts write `-- python script.py`)",
            ExitCode.CONFIGURATION,
        )
    return LaunchError(f"{program} cannot be run: {error.strerror}", ExitCode.CONFIGURATION)
