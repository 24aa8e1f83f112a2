"""The command line as one user on one machine calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from rayhpc.launch import sessions
from rayhpc.launch.sessions import SessionRecord
from rayhpc.machine import scratch

ONE = ["--num-cpus", "1"]
HEAD = ["start", "--head", *ONE, "--node-ip-address", "127.0.0.1"]
FREE = [*HEAD, "--port", "0"]


class Shell:
    """The commands of one user on one machine."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = home / f"rayhpc-{os.geteuid()}"
        self.keys = home / "config" / "rayhpc" / "keys"

    def __call__(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rayhpc.cli.main", *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, **more
        )

    def sessions(self) -> list[SessionRecord]:
        return sessions.living({scratch.VARIABLE: str(self.home)}, ready=False)

    def start(self, *words: str) -> SessionRecord:
        before = {each.session_dir for each in self.sessions()}
        done = self(*words)
        assert done.returncode == 0, done.stderr
        (record,) = [each for each in self.sessions() if each.session_dir not in before]
        return record


def heads_of(node: int) -> set[int]:
    """The processes of a node process that are its head."""
    found = set()
    for child in psutil.Process(node).children():
        try:
            if child.cmdline()[0].startswith("rayhpc head"):
                found.add(child.pid)
        except (psutil.NoSuchProcess, IndexError):
            continue
    return found
