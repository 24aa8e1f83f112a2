"""This node's network addresses, those most likely reachable by its peers first.

Called by whatever binds a listener or publishes a node's location.  Never opens a connection
and never resolves a name.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from rayhpc.machine.getifaddrs import getifaddrs

# High-speed fabrics first, then ordinary interfaces, then those whose address many nodes may share,
# then the loopback.
_FABRIC = ("hsn*", "ib*", "opa*", "roce*")
_NODE_INTERNAL = (
    *("docker*", "br-*", "virbr*", "veth*", "cni*", "flannel*", "cali*", "lxc*", "lxdbr*"),
    *("podman*", "kube*", "vmnet*", "vboxnet*", "dummy*", "ifb*"),
)


@dataclass(frozen=True)
class Interface:
    """One address of one interface; `prefix` is the length of its subnet in bits."""

    name: str
    address: str
    prefix: int
    kind: str

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The address's subnet."""
        return ipaddress.ip_network(f"{self.address}/{self.prefix}", strict=False)


ORDER = ("fabric", "hardware", "ordinary", "node-internal", "link-local", "loopback")


def interfaces(root: Path = Path("/")) -> list[Interface]:
    """Every address of every interface that is up, best first, IPv4 before IPv6 within a kind."""
    found = [
        Interface(name, address, prefix, _kind(name, address, root))
        for name, address, prefix in getifaddrs()
        if not address.startswith("fe80:")  # meaningless to a peer without a zone
    ]
    return sort_interfaces(found or [Interface("lo", "127.0.0.1", 8, "loopback")])


def sort_interfaces(found: list[Interface]) -> list[Interface]:
    """Order by kind, then by address family; otherwise as the kernel lists them."""
    return sorted(found, key=lambda each: (ORDER.index(each.kind), ":" in each.address))


def select(wanted: str | None, found: list[Interface]) -> list[Interface]:
    """Those of `found` that `wanted` names: an interface (`ib0`, `hsn*`), an address or a subnet.

    Several may be given, separated by commas, best first; None means all.  Any 127/8 address is
    accepted, as the whole block belongs to the loopback.  Raises ValueError listing what there is.
    """
    if wanted is None:
        return found
    chosen: list[Interface] = []
    for part in filter(None, (piece.strip() for piece in wanted.split(","))):
        chosen += [each for each in _matching(part, found) if each not in chosen]
    if not chosen:
        offer = ", ".join(f"{each.name} ({each.address})" for each in found)
        raise ValueError(
            f"no interface of this node matches {wanted!r}; give the name, address or subnet "
            f"of one of: {offer}"
        )
    return chosen


def _matching(wanted: str, found: list[Interface]) -> list[Interface]:
    try:
        network = ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return [each for each in found if fnmatch.fnmatchcase(each.name, wanted)]
    inside = [each for each in found if ipaddress.ip_address(each.address) in network]
    single = network.num_addresses == 1
    if not inside and single and network.is_loopback and network.version == 4:
        return [Interface("lo", str(network.network_address), 8, "loopback")]
    return inside


def _kind(name: str, address: str, root: Path) -> str:
    parsed = ipaddress.ip_address(address)
    if parsed.is_loopback:
        return "loopback"
    if parsed.is_link_local:
        return "link-local"
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _NODE_INTERNAL):
        return "node-internal"
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _FABRIC):
        return "fabric"
    if os.path.exists(root / "sys/class/net" / name / "device"):
        return "hardware"
    return "ordinary"
