"""A user's machine from which the lab's EC2 can be reached: rayhpc's commands, and cluster files.

Used by `conftest`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from aws.lab.lab import Ec2Lab

_RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
_LIMIT_S = 100
# In the shape of Ray's minimal example.
MINIMAL = """
provider: {type: aws, region: us-west-2}
available_node_types:
    ray.head.default: {resources: {}, node_config: {InstanceType: m5.large}}
    ray.worker.default:
        min_workers: 1
        max_workers: 4
        resources: {}
        node_config: {InstanceType: m5.large}
"""


class Desk:
    """The user's commands.

    Args:
        cloud: EC2.
        folder: the user's own.
        name: the cluster's.
    """

    def __init__(self, cloud: Ec2Lab, folder: Path, name: str) -> None:
        self.cloud = cloud
        self.folder = folder
        self.name = name
        self.file = folder / "cluster.yaml"
        self.write(MINIMAL)

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

    def living(self) -> dict[str, str]:
        """The cluster's machines that are not over: name and instance."""
        mine = [x for x in self.cloud.living() if x["tags"]["rayhpc-cluster"] == self.name]
        return {x["tags"]["rayhpc-machine"]: x["id"] for x in mine}

    def _environ(self) -> dict[str, str]:
        state = str(self.folder / "state")
        return {**os.environ, **self.cloud.environ(), "XDG_STATE_HOME": state}
