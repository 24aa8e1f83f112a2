"""What of a machine's user data an image with cloud-init runs at its start.

Used by the servers of the labs of clouds.
"""

from __future__ import annotations

import json
import shlex


def boot_commands(user_data: str) -> list[str]:
    """As cloud-init does: the commands of `bootcmd`."""
    head, _, rest = user_data.partition("\n")
    if head != "#cloud-config":
        return []
    return [shlex.join(command) for command in json.loads(rest).get("bootcmd", [])]
