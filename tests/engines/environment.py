"""An environment with the newest real Ray, made once and kept in a cache outside the repository.

    RAYHPC_TEST_REAL_RAY=1 python3 -m tests.engines.environment

makes it and prints its interpreter.  Used by the tests of `--engine ray`, which take minutes and
run only where that variable is set.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

WHAT = "ray[data,tune]"
_PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", WHAT)
_LIMIT_S = 900.0


WANTED = "RAYHPC_TEST_REAL_RAY"


class NotThereError(Exception):
    """There can be no such environment here; the text says why."""


def folder() -> Path:
    """Where it is, for this interpreter's version."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache, "rayhpc", f"real-ray-{sys.version_info[0]}.{sys.version_info[1]}")


def interpreter() -> Path:
    """The interpreter that has Ray; made at the first call.

    Raises:
        NotThereError: pip cannot get Ray.
    """
    if os.environ.get(WANTED) != "1":
        raise NotThereError(f"starts the real Ray, for minutes: set {WANTED}=1 to run it")
    base = folder()
    base.mkdir(parents=True, exist_ok=True)
    python, done = base / "venv" / "bin" / "python", base / "done"
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _run(sys.executable, "-m", "venv", str(base / "venv"))
            _run(str(python), *_PIP)
            done.touch()
    return python


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
        print(interpreter())
    except NotThereError as error:
        raise SystemExit(str(error)) from None
