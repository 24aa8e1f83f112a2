"""Finds the real Ray that a program would import, by asking the program's own interpreter.

Used by `real_ray` on every rank.  Imports no Ray itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rayhpc.exit_codes import ExitCode, LaunchError

# Older versions put the files of all nodes where the head has its own.
OLDEST = (2, 52)
_ASK_S = 60.0
_PYTHON = re.compile(r"python(\d+(\.\d+)?)?$")
_QUESTION = """
import importlib.metadata, importlib.util, json, sys
spec = importlib.util.find_spec("ray")
there = spec is not None and spec.has_location
try:
    version = importlib.metadata.version("ray") if there else ""
except importlib.metadata.PackageNotFoundError:
    version = ""
print(json.dumps([version, "%d.%d" % sys.version_info[:2]]))
"""


@dataclass(frozen=True)
class RayInstall:
    """A Ray installation: its interpreter, its version, and the interpreter's version."""

    interpreter: str
    version: str
    python: str


def find(command: Sequence[str], environ: Mapping[str, str]) -> RayInstall:
    """The Ray that `command` would import.

    Args:
        command: the program; its own interpreter is asked if it names one, else `python`.
        environ: the program's environment.

    Raises:
        LaunchError: there is none, or it is too old.
    """
    interpreter = _interpreter(command, environ)
    version, python = _ask(interpreter, environ)
    if not version:
        raise LaunchError(
            f"--engine ray: {interpreter} has no Ray: install it there ({interpreter} -m pip "
            "install ray), or activate the environment that has it (rayhpc submit --venv, --conda)",
            ExitCode.CONFIGURATION,
        )
    if _numbers(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise LaunchError(
            f"--engine ray: {interpreter} has Ray {version}, and {oldest} or newer is needed: "
            f"upgrade it ({interpreter} -m pip install -U ray)",
            ExitCode.CONFIGURATION,
        )
    return RayInstall(interpreter, version, python)


def _interpreter(command: Sequence[str], environ: Mapping[str, str]) -> str:
    path = environ.get("PATH")
    named = command[:1] if command and _PYTHON.match(os.path.basename(command[0])) else ()
    for name in (*named, "python", "python3"):
        found = shutil.which(name, path=path)
        if found is not None:
            return os.path.abspath(found)
    return sys.executable


def _ask(interpreter: str, environ: Mapping[str, str]) -> tuple[str, str]:
    try:
        done = subprocess.run(
            [interpreter, "-c", _QUESTION],
            env=dict(environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
        )
        version, python = json.loads(done.stdout.strip().rpartition("\n")[2] or "0")
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as error:
        raise LaunchError(
            f"--engine ray: {interpreter} does not say which Ray it has ({error}): does it run "
            "here?",
            ExitCode.CONFIGURATION,
        ) from None
    return str(version), str(python)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:2])
