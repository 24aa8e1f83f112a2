"""Finds and removes what this user's dead sessions left behind, and nothing else.

Called by every node when it starts, and by the CLI.  A session counts as dead only if its lock is
free and the process named in its record has ended: what is not provably dead stays.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rayhpc.launch.sessions import LOCK, RECORD, directories, is_running, read_record
from rayhpc.machine import scratch
from rayhpc.machine.removal import remove_session
from rayhpc.wire import keys

_MEETING = re.compile(r"r[0-9a-f]{12}")
# What is younger may belong to a node that has not yet written its record, or listened.
_GRACE_S = 60.0


def sweep(environ: Mapping[str, str]) -> list[Path]:
    """Remove what this user's dead sessions left behind; returns what was removed."""
    removed = []
    for path in list(directories(environ)):
        if _is_gone(path):
            record = read_record(path)
            if record is not None and record.is_head:
                keys.remove(record.cluster_id)
            remove(path)
            removed.append(path)
    for path in _dead_sockets(environ):
        path.unlink(missing_ok=True)
        removed.append(path)
    return removed


def remove(path: Path) -> None:
    """Remove a session's directory, and the link to it; parts may already be gone."""
    remove_session(str(path.resolve()))
    if path.is_symlink():
        path.unlink(missing_ok=True)


def _dead_sockets(environ: Mapping[str, str]) -> Iterator[Path]:
    """Sockets where local ranks meet (`local_ranks.py`) and nobody listens any more."""
    for base in scratch.existing_bases(environ):
        for name in sorted(os.listdir(base)):
            path = base / name
            if _MEETING.fullmatch(name) and not _is_young(path) and _is_refused(str(path)):
                yield path


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _GRACE_S
    except OSError:  # it has gone meanwhile
        return True


def _is_refused(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _is_gone(path: Path) -> bool:
    """Whether nobody can be using the session: its lock is free, and its process has ended."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return True  # a link to a session that no longer exists
    # One without a record may not have locked yet, and would fail if we held its lock.
    if age < _GRACE_S and not os.path.exists(path / RECORD):
        return False
    # Before the record, which takes five times as long to read: most sessions are alive.
    if not _is_unlocked(path):
        return False
    record = read_record(path)
    return record is None or not is_running(record)


def _is_unlocked(path: Path) -> bool:
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
