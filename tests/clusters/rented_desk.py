"""A user's machine from which a cloud's lab can be reached: rayhpc's commands, and cluster files.

Used by the tests of clouds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ssh.lab.cloud import CloudLab
from tests.cached_environment import NotThereError
from tests.clusters import files
from tests.engines import environment

_RAYHPC = [sys.executable, "-m", "rayhpc.cli.main"]
_LIMIT_S = 100
Lab = TypeVar("Lab", bound=CloudLab)
OURS = "minimal in our words"
EXAMPLES = [OURS, *(pytest.param(x, marks=files.with_rays) for x in ("minimal", "full"))]
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


def image(programs: Path, *more: str) -> str:
    """The ~/.bash_profile of machines: rayhpc is on their PATH, and a pip that has everything.

    Args:
        programs: a folder for what they have besides.
        more: names of more programs that do nothing there.
    """
    for name in ("pip", *more):
        path = programs / name
        path.write_text(f'#!/bin/sh\necho "$@" >>~/{name}.log\n')
        path.chmod(0o755)
    return f"export PATH={programs}:{Path(sys.executable).parent}:$PATH\n"


def lab(make: Callable[[str], Lab], profile: str, reason: str | None) -> Iterator[Lab]:
    """A lab for as long as the tests run.

    Args:
        make: makes it.
        profile: a machine's ~/.bash_profile.
        reason: why it cannot be had here; None: it can.
    """
    if reason:
        pytest.skip(reason)
    made = make(profile)
    try:
        yield made
    finally:
        made.down()


class Desk:
    """The user's commands.

    Args:
        cloud: the lab.
        folder: the user's own.
        name: the cluster's.
        text: its file, but for its name.

    Attributes:
        home: the user's home; None: that of whoever runs the tests.
    """

    def __init__(self, cloud: CloudLab, folder: Path, name: str, text: str = "") -> None:
        self.cloud = cloud
        self.folder = folder
        self.name = name
        self.file = folder / "cluster.yaml"
        self.home: Path | None = None
        self.write(text)

    def write(self, text: str) -> None:
        """The cluster's file, but for its name."""
        self.file.write_text(f"cluster_name: {self.name}\n{text}")

    def write_rays_own(self, provider: str, otherwise: str) -> None:
        """The file that Ray comes with, but for the cluster's name; where it is not here, ours."""
        try:
            text = (environment.autoscaler() / provider / "defaults.yaml").read_text()
        except NotThereError:
            text = otherwise
        name = f"cluster_name: {self.name}"
        self.file.write_text(re.sub("^cluster_name: .*$", name, text, flags=re.MULTILINE))

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

    def try_an_example(self, provider: str, which: str, *words: str) -> None:
        """Up with two workers or as many more as it says, a program on all, down.

        Args:
            provider: whose example.
            which: `minimal` or `full`: Ray's own file, unchanged; OURS: the minimal one in words of
                our own.
            words: more options of `up`.
        """
        path = self.file
        if which == OURS:
            path.write_text(files.EXAMPLES[provider, "minimal"])
        else:
            path = files.rays_own(provider, which)
        done = self.rayhpc("up", "-y", "--min-workers", "2", *words, str(path))
        found = re.search(r": (\d) of \1 nodes run\.", done.stdout)
        assert found, done.stderr
        assert int(found[1]) >= 3
        program = self.folder / "seed.py"
        program.write_text(SEED)
        done = self.rayhpc("submit", str(path), str(program))
        assert len(json.loads(done.stdout.replace("'", '"'))) == int(found[1]), done.stderr
        done = self.rayhpc("down", "-y", str(path))
        assert f"{found[1]} machines ended; nothing of it is left" in done.stdout, done.stderr

    def use(self) -> Iterator[Desk]:
        """For a test; the cluster is ended afterwards."""
        self.cloud.go_wrong()
        yield self
        self.cloud.go_wrong()
        self.rayhpc("down", "-y", str(self.file))

    def run_seed(self) -> None:
        """A program that runs on every machine of the cluster, and prints their addresses."""
        program = self.folder / "seed.py"
        program.write_text(SEED)
        done = self.rayhpc("submit", self.name, str(program))
        mine = self.living().values()
        addresses = sorted(x["address"] for x in self.cloud.living() if x["id"] in mine)
        assert done.stdout.strip() == str(addresses), done.stderr

    def down(self, title: str) -> None:
        """End the cluster of three machines: nothing is left at its place."""
        done = self.rayhpc("down", "-y", self.name)
        assert done.returncode == 0, done.stderr
        said = f"Cluster {self.name}: 3 machines ended; nothing of it is left at {title}."
        assert done.stdout.strip() == said
        assert self.living() == {}

    def living(self) -> dict[str, str]:
        """The cluster's machines that are not over: name and instance."""
        mine = [x for x in self.cloud.living() if x["tags"]["rayhpc-cluster"] == self.name]
        return {x["tags"]["rayhpc-machine"]: x["id"] for x in mine}

    def _environ(self) -> dict[str, str]:
        own = {"XDG_STATE_HOME": str(self.folder / "state")}
        if self.home is not None:
            own["HOME"] = str(self.home)
        return {**os.environ, **self.cloud.environ(), **own}
