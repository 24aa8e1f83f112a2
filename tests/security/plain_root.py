"""Root without the right to look into every process: then it is one user among others.

Used by the tests of what processes of one uid can do to each other.
"""

from __future__ import annotations

import ctypes
import os

_PR_CAPBSET_DROP = 24
_CAP_SYS_PTRACE = 19


def be_a_plain_user() -> None:
    """In a child about to execute a program (`preexec_fn`): it does not get CAP_SYS_PTRACE."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE, 0, 0, 0):
        raise PermissionError("prctl(PR_CAPBSET_DROP)")
