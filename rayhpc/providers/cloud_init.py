"""What a machine is told at its start: to end itself when nobody needs it any more.

Used by the clouds whose images have cloud-init.  It is its `bootcmd`, which runs at each start of
the machine, before anything that somebody may want to run there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from rayhpc.providers.watch import SWITCH_OFF, watch_script


def user_data(
    cluster: str,
    users: str | None = None,
    end: str = SWITCH_OFF,
    public_keys: Sequence[str] = (),
) -> str:
    """The whole of it.

    Args:
        cluster: its name.
        users: what the user has for the machine, of any of cloud-init's kinds.
        end: ends the machine, as shell text.
        public_keys: whom its user lets in besides, in OpenSSH's format.
    """
    # In the background: cloud-init waits for what it runs.
    start = ["setsid", "-f", "sh", "-c", watch_script(cluster, end=end)]
    told: dict[str, object] = {"bootcmd": [start]}
    if public_keys:
        told["ssh_authorized_keys"] = list(public_keys)
    ours = f"#cloud-config\n{json.dumps(told)}\n"
    return ours if users is None else _both(ours, users)


def _both(ours: str, users: str) -> str:
    whole = MIMEMultipart(boundary="rayhpc-and-users-own")
    whole.attach(MIMEText(ours, "cloud-config"))
    kind = "x-shellscript" if users.startswith("#!") else "cloud-config"
    whole.attach(MIMEText(users, kind))
    return whole.as_string()
