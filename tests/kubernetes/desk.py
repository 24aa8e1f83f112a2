"""A user's machine beside the lab: rayhpc's commands, and a cluster's file.

Used by `conftest`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kubernetes.lab.lab import Lab
from tests.kubernetes.files import cluster_yaml

_RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
_LIMIT_S = 200
SELECTOR = "rayhpc.io/cluster=rayhpc-demo"


class Desk:
    """The user's commands.

    Args:
        lab: where the cluster is.
        folder: the user's own.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.file = folder / "cluster.yaml"
        self.kubeconfig = lab.kubeconfig
        self.write(cluster_yaml())

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def script(self, text: str) -> str:
        """A program of the user's."""
        path = self.folder / "program.py"
        path.write_text(text)
        return str(path)

    def rayhpc(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of rayhpc's commands, to its end."""
        return subprocess.run(
            self.lab.command([*_RAYHPC, *words]),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
            env=self._environ(),
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """One of rayhpc's commands, while it works."""
        return subprocess.Popen(
            self.lab.command([*_RAYHPC, *words]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environ(),
        )

    def until(self, holds: Callable[[], bool]) -> None:
        """Look until something is so; the test's own time is the limit."""
        while not holds():
            time.sleep(0.2)  # the lab's network is not ours: only commands can watch it

    def left(self) -> dict[str, int]:
        """What there is of the cluster."""
        found = {}
        for kind in ("jobs", "pods", "secrets", "serviceaccounts", "roles", "rolebindings"):
            found[kind] = len(self.lab.kubectl("get", kind, "-l", SELECTOR, "-o", "name").split())
        return {**found, "processes": len(self.lab.processes())}

    def _environ(self) -> dict[str, str]:
        state = str(self.folder / "state")
        return {**os.environ, "XDG_STATE_HOME": state, "KUBECONFIG": str(self.kubeconfig)}
