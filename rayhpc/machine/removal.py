"""Removing a session's directory, so that a removal cut short leaves one that is known as dead.

Called by the fork server when its raylet is gone, and by the launcher; never asks whose it is.
"""

from __future__ import annotations

import os
import shutil

RECORD = "session.json"


def remove_session(path: str) -> None:
    """Remove a session's directory, its record last; parts of it may be gone already.

    A directory without a record might be that of a node that starts: it stays for a while.
    """
    try:
        names = os.listdir(path)
    except OSError:
        return
    for name in names:
        if name != RECORD:
            _remove(os.path.join(path, name))
    shutil.rmtree(path, ignore_errors=True)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return  # somebody else removes it as well
