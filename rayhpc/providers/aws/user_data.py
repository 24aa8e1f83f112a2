"""What a machine is told at its start: to end itself when nobody needs it any more.

Used by `request`.  It is cloud-init's `bootcmd`, which runs at each start of the machine, before
anything that somebody may want to run there.
"""

from __future__ import annotations

import json
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from rayhpc.providers.watch import watch_script

# EC2's own limit, before base64.
MOST_BYTES = 16384


def user_data(cluster: str, users: str | None = None) -> str:
    """The whole of it; `users` is what the user has for the machine, of any of cloud-init's kinds.

    Raises:
        ValueError: it is too long.
    """
    # In the background: cloud-init waits for what it runs.
    start = ["setsid", "-f", "sh", "-c", watch_script(cluster)]
    ours = "#cloud-config\n" + json.dumps({"bootcmd": [start]}) + "\n"
    text = ours if users is None else _both(ours, users)
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(f"UserData is longer than EC2's {MOST_BYTES} bytes")
    return text


def _both(ours: str, users: str) -> str:
    whole = MIMEMultipart(boundary="rayhpc-and-users-own")
    whole.attach(MIMEText(ours, "cloud-config"))
    kind = "x-shellscript" if users.startswith("#!") else "cloud-config"
    whole.attach(MIMEText(users, kind))
    return whole.as_string()
