"""Where the processes of several users have one uid: what still keeps theirs away from ours.

Used by `launch`, `raylet` and `runtime` if the batch system says so (YARN without
LinuxContainerExecutor).  There the kernel's checks of owners tell nobody apart.  What remains:

- memory and descriptors of a process that is not dumpable are closed to others of its uid;
- nobody can enter the kernel's session (setsid) of another: each container is one;
- CURVE, with a key that only our processes know (`wire.sockets.protect_server`).

Files, signals, and programs that ours execute are not protected.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from rayhpc.machine.processes import set_process_option

# Set in the environment of a program whose cluster protects itself in this way.
VARIABLE = "RAYHPC_SHARED_UID"

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Close this process and its future forks to ptrace and /proc/PID/mem, fd and environ.

    It lasts until a program is executed.  The process's files in /proc then belong to root: it
    can still read its own, but not write them.
    """
    set_process_option(_PR_SET_DUMPABLE, 0)


def is_admitted(pid: int, session: int | None) -> bool:
    """Whether a process is in that session of the kernel's; None admits all.

    Session 0 is one whose leader is outside of this container's pid namespace.
    """
    if session is None:
        return True
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


def expected_session(environ: Mapping[str, str]) -> int | None:
    """The kernel's session in which a program's raylet has to be; None: any."""
    return os.getsid(0) if environ.get(VARIABLE) else None
