"""Host names in place of an address: `localhost`, this machine's name, the head's.

Used by `node_config` (the address of a node), `sessions` and `start_stop` (the head's location).
Asks the machine's own resolver, and opens no connection.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from rayhpc.machine.interfaces import Interface


def addresses_of(host: str) -> list[str]:
    """The addresses of a host, IPv4 first; an address stands for itself.

    Args:
        host: a name or an address, an IPv6 address with or without brackets.

    Raises:
        OSError: the resolver does not know the host.
    """
    bare = host.strip("[]")
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise OSError(str(error)) from None
    return sorted(dict.fromkeys(str(each[4][0]) for each in found), key=lambda each: ":" in each)


def interfaces_of(name: str, found: Sequence[Interface]) -> list[Interface]:
    """The interfaces that a host name denotes on this machine; none if it is another machine's.

    Many systems map their own name to a loopback address (127.0.1.1), which no other machine can
    reach; then it denotes all interfaces.
    """
    try:
        addresses = addresses_of(name)
    except OSError:
        return []
    if _is_own_name(name) and all(ipaddress.ip_address(each).is_loopback for each in addresses):
        return list(found)
    return [each for each in found if each.address in addresses]


def endpoint(ip: str, port: int | str) -> str:
    """`ip:port`, with the brackets that IPv6 needs."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _is_own_name(name: str) -> bool:
    own = socket.gethostname()
    return name in (own, own.partition(".")[0]) and name != "localhost"
