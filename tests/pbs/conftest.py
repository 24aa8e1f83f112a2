"""A user of a fake PBS, once as OpenPBS, once as Torque."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.fake.cluster import ROOT, clean_environ, write_rayhpc

PROGRAMS = ("qsub", "qstat", "qdel", "pbsdsh", "pbsnodes")


@dataclass
class PbsUser:
    """Runs commands in a home of their own, with the fake's programs on PATH."""

    flavour: str
    home: Path
    environ: dict[str, str]

    def rayhpc(self, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`rayhpc` with these words."""
        return self.run(sys.executable, "-m", "rayhpc.cli.main", *words, timeout=timeout)

    def run(self, *argv: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            argv,
            env=self.environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def processes(self) -> list[str]:
        """What runs of it: whatever was started with this home."""
        found = []
        mark = f"HOME={self.home}\0".encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if mark in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(Path(f"/proc/{entry}/cmdline").read_text().replace("\0", " "))
        return found


@pytest.fixture(params=["openpbs", "torque"])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PbsUser]:
    """Somebody at its terminal; what they left running is ended."""
    programs, home, state = (tmp_path / name for name in ("bin", "home", "state"))
    for folder in (programs, home, state):
        folder.mkdir()
    write_rayhpc(programs)
    for name in PROGRAMS:
        path = programs / name
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.pbs.fake.programs import main\nmain({name!r}, sys.argv[1:])\n"
        )
        path.chmod(0o755)
    environ = {
        **clean_environ(),
        "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "RAYHPC_JOBS": str(home / "jobs"),
        "PBS_SERVER": "pbs01",
        "FAKE_PBS": str(state),
        "FAKE_PBS_FLAVOUR": request.param,
    }
    yield PbsUser(request.param, home, environ)
    _end_jobs(state)


def _end_jobs(state: Path) -> None:
    import json

    path = state / "jobs.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for job in known.values():
        if job["job_state"] == "R" and "session_id" in job:
            with suppress(ProcessLookupError):
                os.killpg(job["session_id"], signal.SIGKILL)
