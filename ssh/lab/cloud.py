"""A cloud's lab for tests: its API in a process of its own, and a host for each of its machines.

Used by the labs of clouds, which say how their API is started; that process has an `agent.Agent`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssh.lab.errors import LabError
from ssh.lab.lab import Lab

ROOT = Path(__file__).parents[2]
_LINES_OF_LOG = 30


class CloudLab:
    """An API at `endpoint` in the hub of `hosts`.

    Args:
        image: every machine's ~/.bash_profile.
        server: the command that serves the API, but for the lab's folder; it says `ready PORT`.

    Raises:
        LabError: it does not start.
    """

    def __init__(self, image: str, server: Sequence[str]) -> None:
        self.hosts = Lab.up(0)
        (self.hosts.folder / "image").write_text(image)
        self._log = self.hosts.folder / "server.log"
        command = self.hosts.command([*server, str(self.hosts.folder)])
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._server.stdout is not None
        said = self._server.stdout.readline().split()
        if said[:1] != ["ready"]:
            self.down()
            raise LabError("the lab's API does not start")
        self.endpoint = f"http://127.0.0.1:{said[1]}"

    def environ(self) -> Mapping[str, str]:
        """What a program in the hub needs to find it, and credentials that it takes."""
        raise NotImplementedError

    def go_wrong(self, **what: Any) -> None:
        """What goes wrong from now on, as the server has it."""
        fresh = self.hosts.folder / "faults.new"
        fresh.write_text(json.dumps(what))
        fresh.replace(self.hosts.folder / "faults.json")

    def instances(self) -> list[dict[str, Any]]:
        """All there are or were: id, state, host, whether that is on, address, tags."""
        found: list[dict[str, Any]] = json.loads((self.hosts.folder / "instances.json").read_text())
        return found

    def living(self) -> list[dict[str, Any]]:
        """Those that are not terminated, or whose host is on."""
        return [x for x in self.instances() if x["state"] != "terminated" or x["alive"]]

    def requests(self, action: str) -> list[str]:
        """The codes that a call was answered with."""
        lines = (self.hosts.folder / "requests.log").read_text().splitlines()
        return [line.split()[1] for line in lines if line.split()[0] == action]

    def log(self) -> str:
        """The end of the server's log."""
        return "\n".join(self._log.read_text().splitlines()[-_LINES_OF_LOG:])

    def down(self) -> None:
        """End it all: the hosts of the server end with it."""
        print(self.log(), file=sys.stderr)
        self._server.kill()
        self._server.communicate()
        self.hosts.down()
