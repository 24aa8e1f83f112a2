"""The stack of a process that does not answer, read from outside by py-spy where it is installed.

Used by `watcher`.  Only for processes of this node that its raylet has named; it neither stops nor
signals them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_WITHIN_S = 10.0


def dump(pid: int) -> str:
    """Where the threads of a process are; empty: there is no py-spy, or it may not look."""
    program = shutil.which("py-spy") or shutil.which("py-spy", path=Path(sys.executable).parent)
    if program is None:
        return ""
    command = [program, "dump", "--nonblocking", "--pid", str(pid)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
