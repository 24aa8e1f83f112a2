"""The environment that a program needs so that `import ray` reaches rayhpc.

Used by `rayhpc run` (`environment`) and by workers of programs served like this (`install`).
Whether the real Ray is present is decided by the program's own interpreter (`path/ray`), not here;
only the listed distribution depends on what this interpreter has.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Mapping
from pathlib import Path

RAY_VERSION = "2.58.0"
AS_RAY = "RAYHPC_AS_RAY"
PACKAGE_FOLDER = str(Path(__file__).parent / "path")
METADATA_FOLDER = str(Path(__file__).parent / "metadata")
# Where the command `ray` is, and which interpreter it starts.
COMMAND_FOLDER = str(Path(__file__).parent / "bin")
PYTHON = "RAYHPC_PYTHON"


def environment(environ: Mapping[str, str], as_ray: bool | None) -> dict[str, str]:
    """A copy of `environ` in which Python programs find the right `ray`.

    Args:
        environ: the environment to start from.
        as_ray: True: rayhpc serves `ray` even if the real Ray is installed; False: never; None: if
            the program's interpreter has no real Ray, unless `environ` already decides.
    """
    found = dict(environ)
    if as_ray is not None:
        found[AS_RAY] = "1" if as_ray else "0"
    folders = [x for x in found.get("PYTHONPATH", "").split(os.pathsep) if x]
    folders = [x for x in folders if x not in (PACKAGE_FOLDER, METADATA_FOLDER)]
    wish = found.get(AS_RAY, "")
    _offer_command(found, wish)
    if wish != "0":
        folders.insert(0, PACKAGE_FOLDER)
        # If the real Ray is present, its own distribution is the one to list.
        if wish == "1" or not is_real_ray_here():
            folders.insert(1, METADATA_FOLDER)
    if folders:
        found["PYTHONPATH"] = os.pathsep.join(folders)
    else:
        found.pop("PYTHONPATH", None)
    return found


def _offer_command(environ: dict[str, str], wish: str) -> None:
    """Put the command `ray` on PATH: last, so that an environment's real one wins, unless rayhpc
    is to serve `ray` even then.
    """
    environ.pop(PYTHON, None)
    if "PATH" not in environ:
        return
    folders = [x for x in environ["PATH"].split(os.pathsep) if x != COMMAND_FOLDER]
    if wish != "0":
        environ[PYTHON] = sys.executable
        folders = [COMMAND_FOLDER, *folders] if wish == "1" else [*folders, COMMAND_FOLDER]
    environ["PATH"] = os.pathsep.join(folders)


def install() -> None:
    """Serve `import ray` in this process and the programs it starts (for a worker of such a job).

    Imports nothing: the first `import ray` decides.
    """
    os.environ.update(environment(os.environ, True))
    for folder in (METADATA_FOLDER, PACKAGE_FOLDER):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def is_served() -> bool:
    """Whether `import ray` is served by rayhpc in this process: it has been, or would be."""
    imported = sys.modules.get("ray")
    if imported is not None:
        return getattr(imported, "__rayhpc__", False) is True
    return PACKAGE_FOLDER in sys.path and (os.environ.get(AS_RAY) == "1" or not is_real_ray_here())


def is_real_ray_here() -> bool:
    """Whether this interpreter finds the real Ray on its path."""
    elsewhere = [x for x in sys.path if x not in (PACKAGE_FOLDER, METADATA_FOLDER)]
    spec = importlib.machinery.PathFinder.find_spec("ray", elsewhere)
    return spec is not None and spec.has_location
