"""What a machine is told at its start: to end itself when nobody needs it any more.

Used by `request`.  Any process on the machine, and whoever may describe it, can read this: it holds
no key and no token.  It is cloud-init's `bootcmd`, which runs at each start of the machine, before
anything that somebody may want to run there.
"""

from __future__ import annotations

import json
import shlex
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

# Looked at this often; without a node for so many looks the machine ends, at first for longer: it
# is being set up.
LOOK_S = 60
LOOKS, FIRST_LOOKS = 10, 60
# EC2's own limit, before base64.
MOST_BYTES = 16384

# A node's session holds its lock for as long as it lives (see `clusters.remote.scripts.probe`).
_WATCH = """\
cluster={cluster} look={look} most={looks} left={first}
alive() {{
    for home in {homes}; do
        for file in "$home"/.local/state/rayhpc/clusters/"$cluster"/machines/*.session; do
            session=$(cat "$file" 2>/dev/null) && [ -e "$session/lock" ] || continue
            flock -n -E 75 "$session/lock" true
            [ $? = 75 ] && return 0
        done
    done
    return 1
}}
while sleep "$look"; do
    if alive; then left=$most; else left=$((left - 1)); fi
    [ "$left" -gt 0 ] || shutdown -h now
done
"""


def watch_script(
    cluster: str,
    look_s: float = LOOK_S,
    looks: int = LOOKS,
    first: int = FIRST_LOOKS,
    homes: str = "/root /home/*",
) -> str:
    """Ends the machine when no node of the cluster has run there for a while; runs for ever.

    Args:
        cluster: its name.
        look_s: seconds between two looks.
        looks: so many in a row without a node end it.
        first: likewise before the first node.
        homes: patterns of home directories, as a shell has them.
    """
    name = shlex.quote(cluster)
    return _WATCH.format(cluster=name, look=f"{look_s:g}", looks=looks, first=first, homes=homes)


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
