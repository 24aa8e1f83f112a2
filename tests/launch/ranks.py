"""Ranks of `rayhpc run` as processes of this machine: started as a launcher does, looked after."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path

from rayhpc.machine import scratch
from tests.launch.processes import Known, family, left_of, names_in


class Ranks:
    """Ranks of one start, each as its own process on its own loopback address."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.meeting = folder / "meet"
        self.base = scratch.session_base(environ)
        self._environ = {**os.environ, **environ, "XDG_CONFIG_HOME": str(folder / "config")}
        self._environ.pop("RAYHPC_ADDRESS", None)
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self,
        rank: int,
        size: int,
        *words: str,
        program: list[str],
        terminal: int | None = None,
        **environ: str,
    ) -> subprocess.Popen[str]:
        place = ["--rank", str(rank), "--size", str(size)]
        return self._start(rank, [*place, *words], program, environ, terminal)

    def start_as_step(
        self, rank: int, size: int, *words: str, program: list[str], local: int = 1, **more: str
    ) -> subprocess.Popen[str]:
        """As srun does, `local` tasks a node: we are the parent that signals."""
        node = rank // local
        environ = {
            "SLURM_JOB_ID": "7",
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": str(rank),
            "SLURM_NODEID": str(node),
            "SLURM_LOCALID": str(rank % local),
            "SLURM_STEP_NUM_TASKS": str(size),
            "SLURM_STEP_NUM_NODES": str(size // local),
            "SLURM_STEP_TASKS_PER_NODE": f"{local}(x{size // local})",
            "SLURM_STEP_NODELIST": f"n[0-{size // local - 1}]",
            "SLURMD_NODENAME": f"n{node}",
        }
        return self._start(node, list(words), program, {**environ, **more}, None)

    def _start(
        self,
        rank: int,
        words: list[str],
        program: list[str],
        environ: dict[str, str],
        terminal: int | None,
    ) -> subprocess.Popen[str]:
        meet = ["--rendezvous", str(self.meeting), "--node-ip-address", f"127.0.0.{rank + 1}"]
        command = [sys.executable, "-m", "rayhpc.cli.main", "run", *meet]
        if not any(word.startswith("--num-cpus") for word in words):
            words = [*words, "--num-cpus", "1"]

        def take_terminal() -> None:
            if terminal is not None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if "TEST_CPU" in environ:
                os.sched_setaffinity(0, {int(environ["TEST_CPU"])})

        process = subprocess.Popen(
            [*command, *words, "--", *program],
            env={**self._environ, **environ},
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=terminal is not None,
            preexec_fn=take_terminal,  # noqa: PLW1509
        )
        self.started.append(process)
        return process

    def start_all(self, size: int, *words: str, program: list[str]) -> list[subprocess.Popen[str]]:
        return [self.start(rank, size, *words, program=program) for rank in range(size)]

    def family(self) -> Known:
        known: Known = {}
        for process in self.started:
            known.update(family(process.pid))
        return known


def finished(process: subprocess.Popen[str], within_s: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=within_s)
    return process.returncode, out, err


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def nothing_left(ranks: Ranks, known: Known) -> None:
    assert left_of(known) == []
    assert names_in(ranks.base) == []
    assert names_in(ranks.meeting) == []
