"""Files that others find whole or not at all.

Used by whoever writes what another process may read at any time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a new file in the place of what is there; never follows a link.

    Args:
        path: where.
        data: its content.
        mode: who may read it, within the umask; usually this user alone.

    Raises:
        OSError: it cannot be written; the error names `path`, and nothing new is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
