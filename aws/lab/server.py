"""The lab's own process: EC2's API, and the agent that makes a host of each instance.

Started by `lab` in the hub's network, with the interpreter that has moto.  Ends with its starter.

    python -m aws.lab.server FOLDER

FOLDER is a lab of `ssh.lab`; `image` in it is what every instance's ~/.bash_profile is.  It says
`ready PORT`, and keeps `instances.json` up to date.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from aws.lab import role
from aws.lab.faults import Faults
from ssh.lab.agent import Agent, Seen
from ssh.lab.cloud_init import authorized_keys, boot_commands
from ssh.lab.lab import Lab

_LOOK_S = 0.1
_ACCOUNT = "123456789012"


def main() -> int:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    moto = DomainDispatcherApplication(create_backend_app)
    app = Faults(moto, folder / "faults.json", folder / "requests.log")
    # All addresses of the hub, which none outside its namespace reaches: machines ask it, too.
    server = make_server("0.0.0.0", 0, app, threaded=True)
    iam_backends[_ACCOUNT]["aws"].create_instance_profile(role.PROFILE, "/", [])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    agent = Agent(Lab.load(folder, tied=True), _terminate)
    print(f"ready {server.server_port}", flush=True)
    while True:
        port = server.server_port
        agent.look(_seen(backend, each, port) for backend, each in _instances())
        time.sleep(_LOOK_S)  # moto tells nobody


def _instances() -> list[tuple[Any, Any]]:
    found = []
    for account in list(ec2_backends.values()):
        for backend in list(account.values()):
            found += [(backend, each) for each in list(backend.all_instances())]
    return found


def _terminate(identity: str) -> None:
    for backend, each in _instances():
        if each.id == identity:
            backend.terminate_instances([identity])


def _seen(backend: Any, instance: Any, port: int) -> Seen:
    told = instance.user_data.decode() if instance.user_data else ""
    pair = backend.key_pairs.get(instance.key_name)
    keys = [pair.material_public.decode().strip()] if pair else []
    has_role = instance.id in backend.iam_instance_profile_associations
    return Seen(
        identity=instance.id,
        state=instance.state,
        runs=instance.state == "running",
        addresses=[x for x in (instance.private_ip, instance.public_ip) if x],
        user="ubuntu",
        public_key="".join(f"{key}\n" for key in [*keys, *authorized_keys(told)]),
        told=told,
        start=boot_commands(told),
        tags={tag["key"]: tag["value"] for tag in instance.get_tags()},
        role=role.environ(port) if has_role else {},
    )


if __name__ == "__main__":
    sys.exit(main())
