"""An environment with moto, made once and kept in a cache outside the repository (about 300 MB).

    python3 -m aws.lab.environment

makes it and prints its interpreter; `.ci/run` does so.  Used by `lab`.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

WHAT = "moto[server,ec2]==5.2.5"
_PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", WHAT)
_LIMIT_S = 240.0


class NotThereError(Exception):
    """There can be no such environment here; the text says why."""


def folder() -> Path:
    """Where it is: $EC2LAB_HOME, or ~/.cache/rayhpc/ec2-lab."""
    told = os.environ.get("EC2LAB_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(told) if told else Path(cache, "rayhpc", "ec2-lab")


def interpreter() -> Path:
    """The interpreter that has moto.

    Raises:
        NotThereError: it has not been made.
    """
    if not _done().exists():
        raise NotThereError(f"no moto in {folder()}: `python3 -m aws.lab.environment` gets it")
    return _python()


def make() -> Path:
    """Make it unless it is there; its interpreter.

    Raises:
        NotThereError: pip cannot get moto, or not in time.
    """
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _done().exists():
            _run(sys.executable, "-m", "venv", str(folder() / "venv"))
            _run(str(_python()), *_PIP)
            _done().touch()
    return _python()


def _python() -> Path:
    return folder() / "venv" / "bin" / "python"


def _done() -> Path:
    return folder() / "done"


def _run(*command: str) -> None:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotThereError(f"moto cannot be had here: {error}") from None
    if ended.returncode != 0:
        last = (ended.stderr.strip() or "pip says nothing").splitlines()[-1]
        raise NotThereError(f"moto cannot be had here: {last}")


if __name__ == "__main__":
    try:
        print(make())
    except NotThereError as error:
        raise SystemExit(str(error)) from None
