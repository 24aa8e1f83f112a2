"""The lab's own process: EC2's API, and the agent that makes a host of each instance.

Started by `lab` in the hub's network, with the interpreter that has moto.  Ends with its starter.

    python -m aws.lab.server FOLDER

FOLDER is a lab of `ssh.lab`; `image` in it is what every instance's ~/.bash_profile is.  It says
`ready PORT`, and keeps `instances.json` up to date.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from aws.lab.faults import Faults
from ssh.lab.errors import LabError
from ssh.lab.lab import Lab

_LOOK_S = 0.1
# What a machine does to switch itself off is told to the agent by a file.
_SHUTDOWN = "#!/bin/sh\n: >{}\n"


def main() -> int:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    moto = DomainDispatcherApplication(create_backend_app)
    app = Faults(moto, folder / "faults.json", folder / "requests.log")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lab = Lab.load(folder, tied=True)
    agent = Agent(lab)
    print(f"ready {server.server_port}", flush=True)
    while True:
        agent.look()
        time.sleep(_LOOK_S)  # moto tells nobody


class Agent:
    """Makes a host of each instance that runs, and ends those that do not."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._hosts: dict[str, str] = {}
        self._written = ""
        # Whatever addresses moto gives: all of them are on the one bridge.
        lab.in_hub("ip route add default dev br0")
        (lab.folder / "requests.log").touch()
        self._write([])

    def look(self) -> None:
        """Once."""
        rows = []
        for backend, instance in _instances():
            if instance.id not in self._hosts and instance.state == "running":
                self._start(backend, instance)
            name = self._hosts.get(instance.id, "")
            if name and (self._lab.folder / name / "off").exists():
                backend.terminate_instances([instance.id])
            if name and instance.state != "running" and self._lab.alive(name):
                self._lab.power_off(name)
            rows.append(_row(instance, name, bool(name) and self._lab.alive(name)))
        self._write(rows)

    def _start(self, backend: Any, instance: Any) -> None:
        name = f"m{len(self._hosts) + 1}"
        self._hosts[instance.id] = name
        given = (instance.private_ip, instance.public_ip)
        addresses = [f"{address}/32" for address in given if address]
        key = backend.key_pairs[instance.key_name].material_public.decode()
        try:
            self._lab.add(name, addresses, "ubuntu", key)
        except LabError as error:
            print(f"{instance.id}: {error}", file=sys.stderr, flush=True)
            return
        image = (self._lab.folder / "image").read_text()
        (self._lab.home(name) / ".bash_profile").write_text(image)
        self._boot(name, instance.user_data)

    def _boot(self, name: str, user_data: Any) -> None:
        """As cloud-init does: the commands of `bootcmd`, as root."""
        programs = self._lab.folder / name / "bin"
        programs.mkdir()
        off = programs / "shutdown"
        off.write_text(_SHUTDOWN.format(self._lab.folder / name / "off"))
        off.chmod(0o755)
        text = user_data.decode() if user_data else ""
        (self._lab.folder / name / "user-data").write_text(text)
        head, _, rest = text.partition("\n")
        if head != "#cloud-config":
            return
        for command in json.loads(rest).get("bootcmd", []):
            words = f"PATH={programs}:$PATH {shlex.join(command)} >/dev/null 2>&1 </dev/null"
            self._lab.inside(name, words)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        text = json.dumps(rows)
        if text != self._written:
            self._written = text
            fresh = self._lab.folder / "instances.new"
            fresh.write_text(text)
            fresh.replace(self._lab.folder / "instances.json")


def _instances() -> list[tuple[Any, Any]]:
    found = []
    for account in list(ec2_backends.values()):
        for backend in list(account.values()):
            found += [(backend, each) for each in list(backend.all_instances())]
    return found


def _row(instance: Any, host: str, alive: bool) -> dict[str, Any]:
    return {
        "id": instance.id,
        "state": instance.state,
        "host": host,
        "alive": alive,
        "address": instance.private_ip,
        "tags": {tag["key"]: tag["value"] for tag in instance.get_tags()},
    }


if __name__ == "__main__":
    sys.exit(main())
