"""The process that makes one report from a recording.

Started by rank 0 (`report_maker`), which waits for it, and by the commands that follow a job
(`cli.late_report`), which do not: then it has a session of its own, gives way to everybody, and
ends within a minute, whatever it has come to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rayhpc.launch.interpreter import interpreter_options, make_importable

# A program that ran for at least this long gets a report automatically.
LONG_S = 60.0
NICE = 10
# A report of a million tasks takes four seconds of a core.
MOST_S = 60.0


def start(recording: Path, report: Path, *, in_background: bool = False) -> subprocess.Popen[bytes]:
    """Start it.

    Args:
        recording: what to read.
        report: what to write.
        in_background: whether it goes on after this process has ended.
    """
    environ = dict(os.environ)
    make_importable(environ)
    words = ["report", "--recording", str(recording), "-o", str(report)]
    return subprocess.Popen(
        [sys.executable, *interpreter_options(), "-m", "rayhpc.cli.main", *words],
        # A folder of the user's on the module path could shadow Python's own modules.
        cwd="/",
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=in_background,
        # Safe although it runs Python after the fork: those commands are single-threaded.
        preexec_fn=_stay_small if in_background else None,  # noqa: PLW1509
    )


def _stay_small() -> None:
    os.nice(NICE)
    # It lasts through exec, and what it ends has no handler for it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
