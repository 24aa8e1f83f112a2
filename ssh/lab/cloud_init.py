"""What of a machine's user data an image with cloud-init heeds at its start.

Used by the servers of the labs of clouds.
"""

from __future__ import annotations

import json
import shlex
from typing import Any


def boot_commands(user_data: str) -> list[str]:
    """As cloud-init does: the commands of `bootcmd`."""
    return [shlex.join(command) for command in _config(user_data).get("bootcmd", [])]


def authorized_keys(user_data: str) -> list[str]:
    """Those that its user lets in besides the key pair's."""
    return list(_config(user_data).get("ssh_authorized_keys", []))


def _config(user_data: str) -> dict[str, Any]:
    head, _, rest = user_data.partition("\n")
    found: dict[str, Any] = json.loads(rest) if head == "#cloud-config" else {}
    return found
