"""Somebody at a terminal of a machine that has the cluster's configuration files, and no Java.

Used by the tests of the client, on the fake YARN and on the real one alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Terminal:
    """Runs `rayhpc` as its user does.

    Args:
        environ: what points at the cluster.
        folder: the working directory.
    """

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.environ = {
            **{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ},
            # Neither sbatch nor Java is there.
            "PATH": str(Path(sys.executable).parent) + ":/usr/bin/nonexistent",
            "RAYHPC_JOBS": str(folder / "jobs"),
            **environ,
        }

    def run(self, *words: str, limit_s: float = 100.0) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """One that goes on."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def shown(self, stream: str) -> str:
        """What the commands that follow this user's jobs have fetched of `stdout` or `stderr`."""
        return "".join(path.read_text() for path in self.folder.glob(f"jobs/*/{stream}"))

    def write(self, name: str, text: str) -> str:
        """A program in the working directory; its name."""
        (self.folder / name).write_text(text)
        return name

    @staticmethod
    def command(*words: str) -> list[str]:
        """The words of a process."""
        return [sys.executable, "-m", "rayhpc.cli.main", *words]
