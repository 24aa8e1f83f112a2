"""Takes a lab down when the tests that use it are over, however they end: killed as well.

Used by whoever starts a real SLURM, YARN or Grid Engine for tests.  The keeper is a process of its
own session that waits for the end of a pipe, which the kernel closes when its starter ends.

`python -m tests.lab_keeper FOLDER COMMAND…` runs COMMAND then, and removes FOLDER.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


class LabKeeper:
    """Keeps one lab, from before it is up.

    Args:
        folder: the lab's, removed when it is down.
        down: the command that takes it down.
        environ: that command's environment.
    """

    def __init__(self, folder: Path, down: Sequence[str], environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab_keeper", str(folder), *down],
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def end(self) -> None:
        """Take the lab down now, and wait for it.  Raises AssertionError if that fails."""
        self._process.communicate()
        code = self._process.returncode
        assert code == 0, f"the lab could not be taken down: exit code {code}"


def main() -> int:
    """Be the keeper."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder, *down = sys.argv[1:]
    sys.stdin.buffer.read()
    done = subprocess.run(down, stdout=subprocess.DEVNULL, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
