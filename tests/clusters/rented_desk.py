"""A user's machine from which a cloud's lab can be reached: rayhpc's commands, and cluster files.

Used by the tests of clouds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ssh.lab.cloud import CloudLab

_RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
_LIMIT_S = 100
SEED = """
import time
import ray

ray.init()

@ray.remote
def f():
    time.sleep(0.01)
    return ray.util.get_node_ip_address()

print(sorted(set(ray.get([f.remote() for _ in range(300)]))))
"""


class Desk:
    """The user's commands.

    Args:
        cloud: the lab.
        folder: the user's own.
        name: the cluster's.
        text: its file, but for its name.
    """

    def __init__(self, cloud: CloudLab, folder: Path, name: str, text: str = "") -> None:
        self.cloud = cloud
        self.folder = folder
        self.name = name
        self.file = folder / "cluster.yaml"
        self.write(text)

    def write(self, text: str) -> None:
        """The cluster's file, but for its name."""
        self.file.write_text(f"cluster_name: {self.name}\n{text}")

    def rayhpc(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """One of rayhpc's commands, to its end."""
        return subprocess.run(
            self.cloud.hosts.command([*_RAYHPC, *words]),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
            env={**self._environ(), **environ},
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """One of rayhpc's commands, whose errors are read while it works."""
        return subprocess.Popen(
            self.cloud.hosts.command([*_RAYHPC, *words]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environ(),
        )

    @staticmethod
    def read_until(process: subprocess.Popen[str], words: str) -> str:
        """What a command says up to the line with these words."""
        assert process.stderr is not None
        said = ""
        while words not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        return said

    def up(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`rayhpc up`, without a question."""
        return self.rayhpc("up", "-y", *words, str(self.file))

    def try_an_example(self, pattern: str) -> None:
        """One of Ray's own files, unchanged: up with two workers, a program on all, down."""
        (path,) = Path(os.environ["RAYHPC_RAY_EXAMPLES"]).rglob(pattern)
        done = self.rayhpc("up", "-y", "--min-workers", "2", "--max-workers", "2", str(path))
        assert "3 of 3 nodes run." in done.stdout, done.stderr
        program = self.folder / "seed.py"
        program.write_text(SEED)
        done = self.rayhpc("submit", str(path), str(program))
        assert len(json.loads(done.stdout.replace("'", '"'))) == 3, done.stderr
        done = self.rayhpc("down", "-y", str(path))
        assert "3 machines ended; nothing of it is left" in done.stdout, done.stderr

    def living(self) -> dict[str, str]:
        """The cluster's machines that are not over: name and instance."""
        mine = [x for x in self.cloud.living() if x["tags"]["rayhpc-cluster"] == self.name]
        return {x["tags"]["rayhpc-machine"]: x["id"] for x in mine}

    def _environ(self) -> dict[str, str]:
        state = str(self.folder / "state")
        return {**os.environ, **self.cloud.environ(), "XDG_STATE_HOME": state}
