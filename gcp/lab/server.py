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
import time
from functools import partial
from pathlib import Path
from typing import Any

from gcp.lab.engine import Faults
from gcp.lab.http_api import FakeGce
from ssh.lab.agent import Agent, Seen
from ssh.lab.lab import Lab

_LOOK_S = 0.1
# Google's word for a stopped one, whose disk costs on, is TERMINATED; one that is deleted is
# STOPPING first.
_STATES = {"TERMINATED": "stopped", "STOPPING": "terminated"}


def main() -> int:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    lab = Lab.load(folder, tied=True)
    wanted = _Wanted(folder / "faults.json")
    with FakeGce() as fake:
        agent = Agent(lab, partial(_stop, fake))
        fake.engine.may_go = lambda identity: identity in agent.off
        print(f"ready {fake.port}", flush=True)
        while True:
            with fake.lock:
                wanted.apply(fake)
                _log(folder / "requests.log", fake)
                seen = [_seen(each, folder) for each in fake.engine.instances.values()]
            agent.look(seen)
            time.sleep(_LOOK_S)  # the engine tells nobody


def _stop(fake: FakeGce, identity: str) -> None:
    with fake.lock:
        fake.engine.stop(identity)


class _Wanted:
    """What is to go wrong; counts begin anew when the file is written anew."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at = 0

    def apply(self, fake: FakeGce) -> None:
        """Tell the engine, if there is news."""
        if not self._file.exists() or self._file.stat().st_mtime_ns == self._read_at:
            return
        self._read_at = self._file.stat().st_mtime_ns
        fake.engine.faults = Faults(**json.loads(self._file.read_text()))


def _log(file: Path, fake: FakeGce) -> None:
    if fake.calls:
        with file.open("a") as log:
            log.writelines(f"{name} {status}\n" for name, status in fake.calls)
        fake.calls.clear()
        fake.inserted.clear()


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
