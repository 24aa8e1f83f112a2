"""An environment with the newest real Ray, made once and kept in a cache outside the repository.

    python3 -m tests.engines.environment

makes it and prints its interpreter; `.ci/run` does so.  Used by the tests of `--engine ray`, which
say why they skip where it has not been made.  Those that take a minute or more beyond that ask
`why_not_all`: they run where RAYHPC_TEST_REAL_RAY=1.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

WHAT = "ray[data,tune]"
_PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", WHAT)
# Seconds for each of its two steps: whoever waits for them has tests to run.
_LIMIT_S = 240.0
_ALL = "RAYHPC_TEST_REAL_RAY"


class NotThereError(Exception):
    """There can be no such environment here; the text says why."""


def folder() -> Path:
    """Where it is, for this interpreter's version."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache, "rayhpc", f"real-ray-{sys.version_info[0]}.{sys.version_info[1]}")


def interpreter() -> Path:
    """The interpreter that has Ray.

    Raises:
        NotThereError: it has not been made.
    """
    if not _done().exists():
        raise NotThereError(
            f"no real Ray in {folder()}: `python3 -m tests.engines.environment` gets it"
        )
    return _python()


def why_not_all() -> str:
    """Why the longest tests of `--engine ray` do not run; empty: they do."""
    if os.environ.get(_ALL) != "1":
        return f"starts the real Ray for long: set {_ALL}=1 to run it"
    try:
        interpreter()
    except NotThereError as error:
        return str(error)
    return ""


def make() -> Path:
    """Make it unless it is there; its interpreter.

    Raises:
        NotThereError: pip cannot get Ray, or not in time.
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
            ["nice", "-n", "5", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotThereError(f"no real Ray can be had here: {error}") from None
    if ended.returncode != 0:
        last = (ended.stderr.strip() or "pip says nothing").splitlines()[-1]
        raise NotThereError(f"no real Ray can be had here: {last}")


if __name__ == "__main__":
    try:
        print(make())
    except NotThereError as error:
        raise SystemExit(str(error)) from None
