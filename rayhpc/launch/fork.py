"""Forks a node from its starter instead of executing it: one interpreter start less per node.

Used by `spawn` for the ranks of `rayhpc run`, which are single-threaded and have no ZeroMQ context
and no user code.  On 64 nodes whose interpreters load from one file system, or share a few
processors, imports are half of a cluster's start: most modules a node needs are already in its
rank.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from rayhpc.exit_codes import ExitCode


def become_node(environ: Mapping[str, str]) -> NoReturn:
    """Become a node process, in a fork whose descriptors 0 to 2 are the node's.

    Args:
        environ: its environment.
    """
    code = int(ExitCode.INTERNAL)
    try:
        close_all_but_standard()
        _look_executed(environ)
        from rayhpc.launch import node

        sys.modules["__main__"] = node
        code = node.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def close_all_but_standard() -> None:
    """Close what an executed program would not have inherited."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.close(int(name))
        except OSError:
            pass  # the descriptor used for the listing


def _look_executed(environ: Mapping[str, str]) -> None:
    """Give it the environment, module path and GC setting of `python -m rayhpc.launch.node`.

    A user's folder on the module path would hide modules of Python itself.
    """
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["rayhpc.launch.node"]
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0] = "/"
    own = str(Path(__file__).resolve().parents[2])
    if own not in sys.path:
        sys.path.insert(0, own)
    gc.enable()  # subprocess turns it off around a fork
