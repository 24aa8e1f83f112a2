"""Files between here and one machine.

Used by `bring_up` and by `rayhpc rsync-up`, `rsync-down` and `submit`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

from rayhpc.clusters.patterns import Patterns
from rayhpc.clusters.remote import scripts
from rayhpc.clusters.remote.connection import Connection, Finished
from rayhpc.clusters.remote.trouble import RemoteError
from rayhpc.clusters.transfer import Mount, pack, unpack

COPY_S = 1800.0
_MEMORY = 1 << 24


def send(connection: Connection, mount: Mount, patterns: Patterns) -> Finished:
    """Copy a file, or a folder's contents, to a machine; nothing there is deleted.

    Raises:
        RemoteError: the connection broke.
        OSError: something here cannot be read.
    """
    path = mount.path

    def feed(stdin: IO[bytes]) -> None:
        pack(path, patterns, stdin)

    script = scripts.receive(_destination(mount), is_folder=path.is_dir())
    return connection.run(script, within_s=COPY_S, feed=feed)


def fetch(connection: Connection, source: str, into: Path, patterns: Patterns) -> None:
    """Copy a file, or a folder's contents, from a machine.

    Raises:
        RemoteError: it is not there, or the connection broke.
        OSError: it cannot be written here.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as held:

        def keep(data: bytes) -> None:
            held.write(data)

        finished = connection.run(scripts.give(source), within_s=COPY_S, sink=keep)
        held.seek(0)
        kind = held.readline().strip()
        if kind == b"missing":
            raise RemoteError(connection.login.host, f"there is no {source}")
        if finished.code != 0:
            raise RemoteError(connection.login.host, f"{source} cannot be read to its end")
        if kind == b"dir":
            into.mkdir(parents=True, exist_ok=True)
            unpack(held, into, None, patterns)
            return
        name = Path(source).name
        if into.is_dir():
            unpack(held, into, name, patterns)
        else:
            into.parent.mkdir(parents=True, exist_ok=True)
            unpack(held, into.parent, into.name, patterns)


def _destination(mount: Mount) -> str:
    """A file that goes into a folder keeps its name."""
    into_folder = mount.theirs.endswith("/") and not mount.path.is_dir()
    return mount.theirs + mount.path.name if into_folder else mount.theirs
