"""A virtual environment of other packages, made once and kept in a cache outside the repository.

Used by what tests run against and the project itself does not need: the real Ray, moto.  Whoever
needs one says why it skips where it has not been made; `.ci/run` makes them beforehand.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

_PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:")
# Seconds for each of its two steps: whoever waits for them has tests to run.
_LIMIT_S = 240.0


class NotThereError(Exception):
    """There can be no such environment here; the text says why."""


class CachedEnvironment:
    """One environment.

    Args:
        name: what it is for, in sentences.
        what: what pip installs.
        folder: where it is.
        command: makes it, as the user would type it.

    Attributes:
        folder: as given.
    """

    def __init__(self, name: str, what: str, folder: Path, command: str) -> None:
        self._name = name
        self._what = what
        self.folder = folder
        self._command = command
        self._python = folder / "venv" / "bin" / "python"
        self._done = folder / "done"

    def interpreter(self) -> Path:
        """The interpreter that has it.

        Raises:
            NotThereError: it has not been made.
        """
        if not self._done.exists():
            raise NotThereError(f"no {self._name} in {self.folder}: `{self._command}` gets it")
        return self._python

    def make(self) -> Path:
        """Make it unless it is there; its interpreter.

        Raises:
            NotThereError: pip cannot get it, or not in time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._done.exists():
                self._run(sys.executable, "-m", "venv", str(self.folder / "venv"))
                self._run(str(self._python), *_PIP, self._what)
                self._done.touch()
        return self._python

    def main(self) -> None:
        """Make it and print its interpreter, as a program."""
        try:
            print(self.make())
        except NotThereError as error:
            raise SystemExit(str(error)) from None

    def _run(self, *command: str) -> None:
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
            raise NotThereError(f"no {self._name} can be had here: {error}") from None
        if ended.returncode != 0:
            last = (ended.stderr.strip() or "pip says nothing").splitlines()[-1]
            raise NotThereError(f"no {self._name} can be had here: {last}")
