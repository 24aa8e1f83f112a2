"""The values that a template gets about a job: the same names for every batch system.

Called by each batch system's `render`.  Pure, except for finding where rayhpc is installed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.registry import systems
from rayhpc.batch.request import JobRequest
from rayhpc.batch.system import BatchSystem
from rayhpc.batch.templates import render

# Suffixes and marks of images that only enroot, used by pyxis, understands.
_ENROOT = (".sqsh", ".squashfs")


def _our_rayhpc() -> list[str]:
    """The console script if there is one: `-m` searches the working directory first."""
    script = Path(sys.executable).parent / "rayhpc"
    if os.access(script, os.X_OK):
        return [str(script)]
    return [sys.executable, "-m", "rayhpc.cli.main"]


def _missing_on_path() -> str | None:
    """The directory of our own `python`, if the user has not activated its environment."""
    folder = str(Path(sys.executable).parent)
    return None if folder in os.environ.get("PATH", "").split(os.pathsep) else folder


OUR_RAYHPC = _our_rayhpc()


@dataclass(frozen=True)
class Container:
    """The image, its runtime, and the directories it must see, in the runtime's notation."""

    image: str
    runtime: str
    directories: tuple[str, ...]

    @property
    def binds(self) -> str:
        """For apptainer's --bind."""
        return ",".join(self.directories)

    @property
    def mounts(self) -> str:
        """For pyxis's --container-mounts."""
        return ",".join(f"{each}:{each}" for each in self.directories)


def render_job(
    system: BatchSystem, request: JobRequest, folder: JobFolder, further: dict[str, Any]
) -> str:
    """A job's script, from the user's template or the batch system's own.

    Raises OptionError for a template that cannot be rendered.
    """
    known = {
        "job": _job(request),
        "folder": str(folder.path),
        "launcher": launcher(request),
        "path": _path(request),
        "run_options": run_options(request),
        "container": container(request, folder),
    }
    return render(request.template or system.template, {**known, **further})


def _job(request: JobRequest) -> SimpleNamespace:
    """The request; extra words for a batch system under its name, an empty list if none."""
    words = {each.name: () for each in systems() if each.takes_words}
    known = {each.name: getattr(request, each.name) for each in fields(request)}
    return SimpleNamespace(**{**words, **request.further, **known, "name": request.name})


def _path(request: JobRequest) -> str | None:
    """The first entry for PATH: our own `python`, unless another one is requested."""
    if request.has_own_python:
        return None
    # With the real Ray as engine the program's environment need not contain rayhpc.
    if request.engine == "ray" and PathFinder.find_spec("ray") is None:
        return None
    return _missing_on_path()


def launcher(request: JobRequest) -> list[str]:
    """The command that starts `rayhpc` on a node: ours, or that of the job's own environment."""
    return ["rayhpc"] if request.has_own_python else OUR_RAYHPC


def inside(request: JobRequest) -> list[str]:
    """The command that starts `rayhpc` later, on a node of the running job, in its environment."""
    if request.venv is not None:
        return [os.path.join(os.path.abspath(request.venv), "bin", "rayhpc")]
    if request.conda is not None:
        return ["conda", "run", "--no-capture-output", "-n", request.conda, "rayhpc"]
    if request.container is None:
        return launcher(request)
    runtime = _runtime(request)
    if uses_pyxis(request):
        return ["srun", "--overlap", f"--container-image={request.container}", "rayhpc"]
    program = "apptainer" if runtime == "auto" else runtime
    return [program, "exec", request.container, "rayhpc"]


def run_options(request: JobRequest) -> list[str]:
    """The options of the request that concern `rayhpc run`."""
    words = list(request.run_words)
    if request.min_nodes is not None:
        words += ["--min-nodes", str(request.min_nodes)]
    if request.start_timeout is not None:
        words += ["--start-timeout", f"{request.start_timeout:g}"]
    if request.as_ray is not None:
        words.append("--as-ray" if request.as_ray else "--no-as-ray")
    if request.engine is not None:
        words += ["--engine", request.engine]
    if request.max_nodes is not None:
        words += ["--elastic", str(request.max_nodes)]
    if request.idle_timeout is not None:
        words += ["--idle-timeout", f"{request.idle_timeout:g}"]
    if not request.report:
        words.append("--no-report")
    return words


def container(request: JobRequest, folder: JobFolder) -> Container | None:
    """The job's container with the directories it must see.

    Raises OptionError for a directory that cannot be written in a list of mounts.
    """
    if request.container is None:
        return None
    directories = tuple(dict.fromkeys((request.work_dir, str(folder.path))))
    for each in directories:
        if set(each) & set(",:"):
            raise OptionError(
                f"{each} cannot be mounted in a container: its path contains a comma or colon; "
                "use another directory"
            )
    return Container(request.container, _runtime(request), directories)


def uses_pyxis(request: JobRequest) -> bool:
    """Whether srun itself starts the container."""
    return _runtime(request) == "pyxis"


def _runtime(request: JobRequest) -> str:
    image = request.container or ""
    if request.container_runtime == "auto" and (image.endswith(_ENROOT) or "#" in image):
        return "pyxis"
    return request.container_runtime
