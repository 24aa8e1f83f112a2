"""Ranks whose nodes are those of the real Ray, and what they leave behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayhpc.machine import scratch
from tests.cached_environment import NotThereError
from tests.engines import environment
from tests.launch.processes import Known, family, left_of, names_in

RAYHPC = (sys.executable, "-m", "rayhpc.cli.main")


class Ranks:
    """`rayhpc run --engine ray` as processes of one machine, in a directory of their own."""

    def __init__(self, python: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
        self._python = python
        environ = {scratch.VARIABLE: str(self.folder)}
        self.base = scratch.session_base(environ)
        self._environ = {
            **os.environ,
            **environ,
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            # Neither may reach the cluster.
            "RAY_ADDRESS": "127.0.0.1:1",
            "RAY_AUTH_TOKEN": "of-another-cluster",
        }
        self.started: list[subprocess.Popen[str]] = []
        self.known: Known = {}

    def start(
        self,
        program: str,
        *words: str,
        rank: int = 0,
        size: int = 1,
        terminal: int | None = None,
        **environ: str,
    ) -> subprocess.Popen[str]:
        """One rank, whose program is Python text; it is in front at a terminal, if there is one."""
        place = ["--rank", str(rank), "--size", str(size)] if size > 1 else []
        meet = ["--rendezvous", str(self.folder / "meet")] if size > 1 else []
        process = subprocess.Popen(
            [
                *(*RAYHPC, "run", "--engine", "ray", *place, *meet),
                *("--node-ip-address", f"127.0.0.{rank + 1}", "--num-cpus", "2"),
                *("--memory", "2G", "--object-store-memory", "100M", *words),
                *("--", "python", "-c", program),
            ],
            env={**self._environ, **environ},
            cwd=self.folder,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=terminal is not None,
            preexec_fn=None if terminal is None else _take_terminal,  # noqa: PLW1509
        )
        self.started.append(process)
        return process

    def note(self) -> None:
        """Remember all processes that there are now."""
        for each in self.started:
            self.known.update(family(each.pid))

    def left(self) -> list[str]:
        """What is still there of all that was noted, once all ranks have ended."""
        return [*left_of(self.known, 20.0), *names_in(self.base)]

    def close(self) -> None:
        """End what a failed test has left."""
        for each in self.started:
            if each.poll() is None:
                each.kill()
            each.communicate()
        left_of(self.known, 20.0)
        shutil.rmtree(self.folder, ignore_errors=True)


def descendant(pid: int, words: str) -> int:
    """The descendant of a process whose command line has these words."""
    for each in family(pid):
        if words in Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode():
            return each
    raise AssertionError(f"no {words} below {pid}")


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="session")
def ray_python() -> Path:
    """The interpreter that has the newest real Ray."""
    try:
        return environment.interpreter()
    except NotThereError as error:
        pytest.skip(str(error))


@pytest.fixture
def ranks(ray_python: Path) -> Iterator[Ranks]:
    """Ranks of the test's own."""
    found = Ranks(ray_python)
    yield found
    found.close()
