"""A user's machine beside the lab's hosts: rayhpc's commands, and a cluster's file.

Used by `conftest`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssh.lab.lab import USER, Lab

_RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
_LIMIT_S = 90


class Desk:
    """The user's commands.

    Args:
        lab: the hosts.
        folder: the user's own.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.file = folder / "cluster.yaml"
        self.state = folder / "state"
        self._agent: dict[str, str] = {}
        self.write()

    def welcome(self) -> None:
        """Every host as a new one, with rayhpc on its PATH."""
        for name in self.lab.names:
            home = self.lab.home(name)
            path = f"export PATH={Path(sys.executable).parent}:$PATH\n"
            (home / ".bash_profile").write_text(path)
            (home / ".bashrc").unlink(missing_ok=True)
            (self.lab.folder / name / "banner").write_text("")

    def write(self, more: str = "", workers: str = "10.88.0.2, 10.88.0.3") -> None:
        """The cluster's file: h1 is the head."""
        self.file.write_text(
            f"cluster_name: lab\n"
            f"provider: {{type: local, head_ip: 10.88.0.1, worker_ips: [{workers}]}}\n"
            f"auth: {{ssh_user: {USER}, ssh_private_key: {self.lab.key}}}\n{more}"
        )

    def rayhpc(self, *words: str, state: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One of rayhpc's commands, to its end."""
        return subprocess.run(
            self.lab.command([*_RAYHPC, *words]),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
            env=self.environ(state),
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """One of rayhpc's commands, whose errors are read while it works."""
        return subprocess.Popen(
            self.lab.command([*_RAYHPC, *words]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environ(None),
        )

    @contextmanager
    def agent(self) -> Iterator[None]:
        """Meanwhile the user has an ssh agent with the lab's key."""
        socket = self.folder / "agent"
        words = ["ssh-agent", "-D", "-a", str(socket)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
            try:
                assert running.stdout is not None
                running.stdout.readline()  # it listens
                self._agent = {"SSH_AUTH_SOCK": str(socket)}
                add = ["ssh-add", "-q", str(self.lab.key)]
                subprocess.run(add, check=True, env={**os.environ, **self._agent})
                yield
            finally:
                self._agent = {}
                running.kill()

    def environ(self, state: Path | None) -> dict[str, str]:
        """The user's environment."""
        return {**os.environ, **self._agent, "XDG_STATE_HOME": str(state or self.state)}

    def up(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`rayhpc up`, without a question."""
        return self.rayhpc("up", "-y", *words, str(self.file))

    def processes(self) -> list[str]:
        """Everything that runs on the hosts, but for what sshd needs."""
        return [each for name in self.lab.names for each in self.lab.processes(name)]
