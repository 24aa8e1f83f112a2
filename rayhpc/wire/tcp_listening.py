"""Plain TCP sockets that listen on a node's own addresses, at ports of a range.

Used by listeners that seal what they say themselves: the data plane's (`data_plane.listening`) and
that of direct links (`direct_sockets`).  Never accepts a connection.
"""

from __future__ import annotations

import errno
import random
import socket

from rayhpc.wire.sockets import PortRange

_QUEUE = 128


def listen(ips: list[str], ports: PortRange) -> tuple[list[socket.socket], list[tuple[str, int]]]:
    """Listen on every address, on one port if it is free on all.

    Args:
        ips: this computer's addresses, best first; those that cannot be used, after the first, are
            left out.
        ports: first and last port (None: the system's choice).

    Returns:
        Sockets that do not block, and what peers may connect to, in the same order.

    Raises:
        OSError: the first address cannot be used, or no port of `ports` is free there.
    """
    opened: list[socket.socket] = []
    found: list[tuple[str, int]] = []
    for ip in ips:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            port = _bind(sock, ip, found[0][1] if found else 0, ports)
            sock.listen(_QUEUE)
        except OSError:
            sock.close()
            if not found:
                raise
            continue
        opened.append(sock)
        found.append((ip, port))
    return opened, found


def _bind(sock: socket.socket, ip: str, wanted: int, ports: PortRange) -> int:
    """Bind to a free port, the wanted one if possible; returns it."""
    if ports is None:
        choice = [wanted, 0] if wanted else [0]
    else:
        choice = list(range(ports[0], ports[1] + 1))
        random.shuffle(choice)  # many nodes of one user may share a computer
        choice = [wanted, *choice] if wanted else choice
    for port in choice:
        try:
            sock.bind((ip, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return int(sock.getsockname()[1])
    where = f"all ports from {ports[0]} to {ports[1]} are taken" if ports else "no port is free"
    raise OSError(errno.EADDRINUSE, f"{where} on {ip}; give a wider range with --port-range")
