"""The lab's network: a hub with a bridge, where the control plane is, and a cable for each pod.

Used by `lab` and `kubelet`, which both run in or outside the hub by its process.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from kubernetes.lab.errors import LabError

NET = "10.89.0"
#: Where the control plane is.
PLANE = f"{NET}.254"
# The bridge's hardware address.  Without one of its own it takes that of a port, another one when
# ports come and go, and nobody reaches it until the neighbours' entries are stale.
_MAC = "02:00:0a:59:00:fe"


def in_hub(hub: int, words: Sequence[str]) -> list[str]:
    """The command that runs `words` in the network of the hub's process."""
    return ["nsenter", f"--net=/proc/{hub}/ns/net", "--", *words]


def make_bridge(hub: int) -> None:
    """Raises LabError."""
    script = f"ip link set lo up; ip link add br0 address {_MAC} type bridge; ip link set br0 up"
    run(in_hub(hub, ["sh", "-ec", f"{script}; ip addr add {PLANE}/24 dev br0"]))


def plug_in(pid: int, number: int) -> str:
    """Give the network of a process a cable to the bridge of ours; returns its address."""
    address = f"{NET}.{number}"
    # The same hardware address at each start: neighbours remember it.
    mac = f"02:00:0a:59:00:{number:02x}"
    name = f"pod{number}"
    run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "address", mac,
         "netns", str(pid)])  # fmt: skip
    run(["ip", "link", "set", name, "master", "br0", "up"])
    script = f"ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up"
    run(["nsenter", "-t", str(pid), "-n", "sh", "-ec", script])
    return address


def run(words: Sequence[str]) -> None:
    """Raises LabError."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
