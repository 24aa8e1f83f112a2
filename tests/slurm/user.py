"""A user at the terminal of a cluster's login node: what tests do to a fake or a real SLURM."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

RAYHPC = (sys.executable, "-m", "rayhpc.cli.main")


class Cluster(Protocol):
    """A cluster to be at."""

    kind: str
    home: Path

    @property
    def names(self) -> list[str]: ...

    def prefix(self, user: str = ..., node: str | None = ...) -> list[str]: ...

    def environ(self, **more: str) -> dict[str, str]: ...

    def requests(self) -> list[str]: ...


class User:
    """Runs commands on the login node, in a directory of its own below the user's home."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory
        directory.mkdir(mode=0o755)
        _give(directory, cluster)
        self.jobs = directory / "jobs"

    def write(self, name: str, text: str) -> Path:
        """A file of the user's."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        _give(path, self.cluster)
        return path

    def run(
        self, *argv: str, timeout: float = 60.0, check: bool = False, stdin: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end; `more` goes into its environment."""
        done = subprocess.run(
            [*self.cluster.prefix(), *argv],
            env=self._environ(more),
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done

    def start(self, *argv: str, **more: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        return subprocess.Popen(
            [*self.cluster.prefix(), *argv],
            env=self._environ(more),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def batch(self, *words: str, seconds: float = 90.0, **more: str) -> int:
        """`sbatch` and its job to the end; its exit code.

        `sbatch --wait` itself looks only every ten seconds.
        """
        job = self.run("sbatch", "--parsable", *words, check=True, **more).stdout.strip()

        shown = ""

        def ended() -> re.Match[str] | None:
            nonlocal shown
            shown = self.run("scontrol", "show", "job", job, check=True).stdout
            if re.search("JobState=(PENDING|CONFIGURING|RUNNING|COMPLETING)", shown):
                return None
            return re.search(r"\bExitCode=(\d+):(\d+)", shown)

        found = eventually(ended, seconds)
        said = "\n".join(path.read_text() for path in self.directory.glob("*.out"))
        assert found, f"job {job} has not ended within {seconds:g} s:\n{shown}\n{said}"
        return int(found[1]) or (128 + int(found[2]) if int(found[2]) else 0)

    def rayhpc(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`rayhpc` with these words."""
        return self.run(*RAYHPC, *words, **options)

    def json(self, *words: str) -> Any:
        """What `rayhpc … --json` prints."""
        return json.loads(self.rayhpc(*words, "--json", check=True).stdout)

    def submit(self, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`rayhpc submit`, followed to the end."""
        return self.rayhpc("submit", *words, timeout=timeout)

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        own = {"SLURMLAB_CWD": str(self.directory), "PWD": str(self.directory)}
        return self.cluster.environ(**{**own, "RAYHPC_JOBS": str(self.jobs), **more})


def eventually(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true answer of `look`; the last one when the time is over.

    A look may be a program: the pause is twice as long, so that what is waited for can run, but no
    longer than a fiftieth of the limit, so that a short one is kept to, or than 0.4 s.
    """
    deadline = time.monotonic() + seconds
    longest = min(0.4, seconds / 50)
    while True:
        began = time.monotonic()
        found = look()
        ended = time.monotonic()
        if found or ended >= deadline:
            return found
        time.sleep(min(max(0.02, 2 * (ended - began)), longest, deadline - ended))


def first_line(process: subprocess.Popen[str], words: str) -> list[str]:
    """Read the process's standard error up to a line with these words."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            return seen
    raise AssertionError(f"no line with {words!r} in {''.join(seen)}")


def _give(path: Path, cluster: Cluster) -> None:
    if cluster.kind == "lab":
        owner = cluster.home.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def lines_of(done: subprocess.CompletedProcess[str]) -> Sequence[str]:
    """Standard output, line by line."""
    return done.stdout.splitlines()
