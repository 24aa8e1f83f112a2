"""A node that is forked from its starter instead of executed: one interpreter start less a node.

Used by `spawn` for the ranks of `rayhpc run`, which have one thread, no ZeroMQ context and no user
code.  On 64 nodes whose interpreters come from one file system, or share a few processors, half
of a cluster's start is imports: the node needs mostly the modules that its rank has already.
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
    """Be a node process from here on, in a fork whose descriptors 0 to 2 are the node's.

    Args:
        environ: its environment.
    """
    code = int(ExitCode.INTERNAL)
    try:
        _close_all_but_standard()
        _look_executed(environ)
        from rayhpc.launch import node

        sys.modules["__main__"] = node
        code = node.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _close_all_but_standard() -> None:
    """What an executed program would not have got."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.close(int(name))
        except OSError:
            pass  # the descriptor that listed them


def _look_executed(environ: Mapping[str, str]) -> None:
    """Environment, module path and garbage collection as `python -m rayhpc.launch.node` has them.

    A folder of the user's on the module path would hide modules of Python's own.
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
