"""Whether a launcher's signal reached only this rank, or every process of it.

Used by `head_rank`.  SLURM with ProctrackType=cgroup signals only the processes that slurmstepd
started itself, with linuxproc all their descendants, with pgid a process group; nothing in a
job's environment says which.  So an idle child is watched: if the signal ends it, the program
has received it, too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

from rayhpc.machine.processes import die_with_parent
from rayhpc.machine.signals import default_in_child

# A launcher signals the processes of a rank within microseconds of each other, but on a busy node
# the child may take a while to die; a program that ends at once must not get a second signal then.
_WAIT_S = 0.5


class SignalReach:
    """Holds the child; for the main thread of a single-threaded process."""

    def __init__(self) -> None:
        self._child = _start()

    def was_everywhere(self, number: int) -> bool:
        """Whether signal `number`, which we have just received, has reached our children as well.

        Waits up to half a second.  False if there is no such child.
        """
        if self._child is None:
            return False
        try:
            code = self._child.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            return False
        self._child = _start()
        return code == -number

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


def _start() -> subprocess.Popen[bytes] | None:
    program = shutil.which("sleep")
    me = os.getpid()

    def prepare() -> None:
        default_in_child()
        if not die_with_parent(me, signal.SIGKILL):
            os._exit(128 + signal.SIGKILL)

    if program is None:
        return None
    try:
        # Safe although it runs Python after the fork: `rayhpc run` is single-threaded.
        return subprocess.Popen(
            [program, "infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=prepare,  # noqa: PLW1509
        )
    except OSError:
        return None
