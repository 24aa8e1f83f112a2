"""The lab's own process: the fake Compute Engine, and the agent that makes a host of each instance.

Started by `lab` in the hub's network.  Ends with its starter.

    python -m gcp.lab.server FOLDER

FOLDER is a lab of `ssh.lab`; `image` in it is what every instance's ~/.bash_profile is.  It says
`ready PORT`, and keeps `instances.json` up to date.
"""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

from gcp.lab.engine import Faults
from gcp.lab.http_api import FakeGce
from ssh.lab.agent import Agent, Seen
from ssh.lab.lab import Lab
from ssh.lab.serving import serve

# Google's word for a stopped one, whose disk costs on, is TERMINATED; one that is deleted is
# STOPPING first.
_STATES = {"TERMINATED": "stopped", "STOPPING": "terminated"}


def main() -> int:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    lab = Lab.load(folder, tied=True)
    with FakeGce() as fake:
        engine = fake.engine
        agent = Agent(lab, partial(_stop, fake))
        engine.may_go = lambda identity: identity in agent.off

        def go_wrong(what: dict[str, Any]) -> None:
            engine.faults = Faults(**what)

        serve(
            *(folder, fake, agent, go_wrong),
            lambda: [_seen(each, folder) for each in engine.instances.values()],
        )
    return 0


def _stop(fake: FakeGce, identity: str) -> None:
    with fake.lock:
        fake.engine.stop(identity)


def _seen(instance: dict[str, Any], folder: Path) -> Seen:
    items = {each["key"]: each["value"] for each in instance["metadata"]["items"]}
    user, _, key = items["ssh-keys"].splitlines()[-1].partition(":")
    inside = instance["networkInterfaces"][0]
    outside = [each["natIP"] for each in inside.get("accessConfigs", [])]
    script = items.get("startup-script", "")
    file = folder / f"startup-{instance['id']}"
    file.write_text(script)
    facts = json.loads(items["rayhpc"])
    return Seen(
        identity=instance["id"],
        state=_STATES.get(instance["status"], instance["status"].lower()),
        runs=instance["status"] == "RUNNING",
        addresses=[inside["networkIP"], *outside],
        user=user,
        public_key=key,
        told=json.dumps(items),
        start=[f"sh {shlex.quote(str(file))}"] if script else [],
        tags={"rayhpc-cluster": facts["cluster"], "rayhpc-machine": facts["machine"]},
    )


if __name__ == "__main__":
    sys.exit(main())
