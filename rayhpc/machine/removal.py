"""Removes a session's directory; an interrupted removal leaves one that is recognisably dead.

Called by the fork server when its raylet is gone, and by the launcher; never checks ownership.
"""

from __future__ import annotations

import os
import shutil

RECORD = "session.json"


def remove_session(path: str) -> None:
    """Remove a session's directory, its record last; parts of it may already be gone.

    A directory without a record might belong to a node that is starting: it is kept for a while.
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
        return  # another process is removing it as well
