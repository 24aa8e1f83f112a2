"""The lab's life, for tests: up, what is to go wrong, what there is, down.

Used by `tests/aws`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aws.lab import environment
from ssh.lab import packages
from ssh.lab.errors import LabError
from ssh.lab.lab import Lab
from tests.cached_environment import NotThereError

ROOT = Path(__file__).parents[2]
_LINES_OF_LOG = 30


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    try:
        environment.interpreter()
    except NotThereError as error:
        return str(error)
    return packages.why_not()


class Ec2Lab:
    """EC2's API at `endpoint` in the hub of `hosts`, and a host for each instance."""

    def __init__(self, image: str) -> None:
        """Start it; `image` is every instance's ~/.bash_profile.  Raises LabError."""
        self.hosts = Lab.up(0)
        (self.hosts.folder / "image").write_text(image)
        self._log = self.hosts.folder / "server.log"
        command = self.hosts.command(
            [str(environment.interpreter()), "-m", "aws.lab.server", str(self.hosts.folder)]
        )
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
            raise LabError("the EC2 lab's API does not start")
        self.endpoint = f"http://127.0.0.1:{said[1]}"

    def environ(self) -> dict[str, str]:
        """What a program in the hub needs to find it, and credentials that it takes."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "lab",
            "AWS_SECRET_ACCESS_KEY": "lab",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def go_wrong(self, **what: Any) -> None:
        """From now on.

        Args:
            what: `full`, zones and types without room; `lose`, so many replies of RunInstances
                that has been done; `throttle`, so many calls; `deny`, calls by name; `hide_s`, how
                long what was made cannot be seen.
        """
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

    def host(self, name: str) -> Lab:
        """The hosts as they are now, `name` among them.  Raises LabError."""
        lab = Lab.load(self.hosts.folder)
        if name not in lab.names:
            raise LabError(f"there is no host {name}")
        return lab

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
