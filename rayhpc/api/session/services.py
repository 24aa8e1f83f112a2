"""Where this process runs: `services.get_node_ip_address()`.

Used by users; `util` exports the function, too.
"""

from __future__ import annotations

from rayhpc.runtime.process import current


def get_node_ip_address(address: str = "8.8.8.8:53") -> str:
    """The address of this process's node.

    Args:
        address: kept for old programs; without a cluster, the address of the interface that routes
            to it.
    """
    client = current.existing()
    if client is not None:
        return client.facts.node_ip
    import socket

    host, _, port = address.partition(":")
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        # Sends nothing: it only makes the kernel choose the interface.
        probe.connect((host, int(port or 53)))
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()
