"""`ray start`, without its fixed ports: a program for the interpreter that has the real Ray.

Executed by `ray_node`, never imported; knows nothing of rayhpc, whose Python may be a different
one. The first argument is the folder for the node's sockets, whose names would otherwise be too
long for AF_UNIX; the rest are `ray start`'s.
"""

import os
import sys

HOOK = "RAY_START_HOOK"


def adjust(params, head):  # type: ignore[no-untyped-def]
    """Ray's own hook, called just before the node starts."""
    params.plasma_store_socket_name = os.path.join(_folder, "p")
    params.raylet_socket_name = os.path.join(_folder, "r")
    # If its packages are installed, Ray Client would listen on port 10001, for all nodes here.
    params.ray_client_server_port = None
    if _theirs:
        os.environ[HOOK] = _theirs
        from ray._private.utils import load_class

        load_class(_theirs)(params, head)
    else:
        del os.environ[HOOK]


if __name__ == "__main__":
    _folder = sys.argv.pop(1)
    _theirs = os.environ.get(HOOK, "")
    os.environ[HOOK] = "__main__.adjust"
    from ray.scripts.scripts import main

    main()
