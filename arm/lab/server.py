"""The lab's own process: the fake Azure, and the agent that makes a host of each virtual machine.

Started by `lab` in the hub's network.  Ends with its starter.

    python -m arm.lab.server FOLDER

FOLDER is a lab of `ssh.lab`; `image` in it is what every machine's ~/.bash_profile is.  It says
`ready PORT`, and keeps `instances.json` up to date.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from arm.lab.engine import Engine, Faults
from arm.lab.http_api import FakeArm
from ssh.lab.agent import Agent, Seen
from ssh.lab.cloud_init import boot_commands
from ssh.lab.lab import Lab
from ssh.lab.serving import serve


def main() -> int:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    lab = Lab.load(folder, tied=True)
    with FakeArm() as fake:
        engine = fake.engine
        agent = Agent(lab, partial(_stop, fake))
        engine.may_go = lambda identity: not identity or identity in agent.off

        def go_wrong(what: dict[str, Any]) -> None:
            engine.faults = Faults(**what)

        serve(
            *(folder, fake, agent, go_wrong),
            lambda: [_seen(engine, each) for each in engine.some("virtualMachines", None)],
        )
    return 0


def _stop(fake: FakeArm, identity: str) -> None:
    with fake.lock:
        fake.engine.stop(identity)


def _seen(engine: Engine, machine: Mapping[str, Any]) -> Seen:
    properties = machine["properties"]
    state = properties["provisioningState"]
    power = engine.power.get(machine["id"].lower(), "running")
    system = properties["osProfile"]
    told = base64.b64decode(engine.told[properties["vmId"]]).decode()
    return Seen(
        identity=properties["vmId"],
        state="terminated" if state in ("Deleting", "Failed") else power,
        runs=state == "Succeeded" and power == "running",
        addresses=engine.addresses(machine),
        user=system["adminUsername"],
        public_key=system["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"],
        told=told,
        start=boot_commands(told),
        tags=machine["tags"],
    )


if __name__ == "__main__":
    sys.exit(main())
