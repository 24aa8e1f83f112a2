"""One submission: everything the user asked for, checked, as data.

Created by `rayhpc submit` from the command line, `#RAYHPC` lines and a profile; read by schedulers
and templates.  Knows no batch system.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rayhpc.batch import values
from rayhpc.batch.errors import OptionError

LONGEST_START_S = 366 * 86400.0
RUNTIMES = ("auto", "apptainer", "singularity", "pyxis")
ENGINES = ("rayhpc", "ray")


@dataclass(frozen=True)
class JobRequest:
    """What to run, where and on how much; None means the batch system's default.

    `further` has extra arguments for a batch system's own program, word by word, by the batch
    system's name.  `run_words` are further options of `rayhpc run`, for the head of a cluster
    of `rayhpc up`; that job has no command.
    """

    command: tuple[str, ...]
    nodes: int = 1
    max_nodes: int | None = None
    idle_timeout: float | None = None
    run_words: tuple[str, ...] = ()
    cpus_per_node: int | None = None
    gpus_per_node: str | None = None
    mem: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclusive: bool = False
    job_name: str | None = None
    array: str | None = None
    dependency: str | None = None
    requeue: bool | None = None
    no_kill: bool = False
    output: str | None = None
    venv: str | None = None
    conda: str | None = None
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    container: str | None = None
    container_runtime: str = "auto"
    env: dict[str, str] = field(default_factory=dict)
    further: dict[str, tuple[str, ...]] = field(default_factory=dict)
    min_nodes: int | None = None
    start_timeout: float | None = None
    as_ray: bool | None = None
    engine: str | None = None
    report: bool = True
    template: Path | None = None
    work_dir: str = field(default_factory=os.getcwd)

    @property
    def name(self) -> str:
        """The job's name: as given, or else the program's."""
        if self.job_name is not None:
            return self.job_name
        program = self.program
        return program.stem if program is not None else Path(self.command[0]).name

    @property
    def program(self) -> Path | None:
        """The file that the command runs, if one of its words is a script."""
        return program_of(self.command)

    @property
    def has_own_python(self) -> bool:
        """Whether the job uses its own interpreter to run rayhpc instead of ours."""
        return self.venv is not None or self.conda is not None or self.container is not None


def program_of(command: tuple[str, ...]) -> Path | None:
    """The first word that is a script on disk: `train.py` in `python -u train.py --epochs 3`."""
    for word in command:
        path = Path(word)
        if path.suffix in (".py", ".sh", ".bash") and path.is_file():
            return path
    return None


def check(request: JobRequest) -> JobRequest:
    """`request` with its amounts normalized for batch systems.

    Raises OptionError naming the first invalid value.
    """
    if not request.command:
        raise OptionError("nothing to run: rayhpc submit [OPTIONS] -- python train.py")
    if any("\0" in word for word in request.command):
        raise OptionError("the command contains a NUL")
    values.count("--nodes", request.nodes)
    _check_growth(request)
    _check_texts(request)
    request = _check_amounts(request)
    _check_environment(request)
    if request.engine == "ray" and request.as_ray:
        raise OptionError("--engine ray and --as-ray exclude each other: give only one of them")
    if request.min_nodes is not None and not 1 <= request.min_nodes <= request.nodes:
        raise OptionError(f"--min-nodes {request.min_nodes}: give a number from 1 to --nodes")
    if request.start_timeout is not None and not 0 < request.start_timeout <= LONGEST_START_S:
        raise OptionError(
            f"--start-timeout {request.start_timeout:g}: give a number of seconds above 0 and "
            "at most a year"
        )
    return request


def _check_growth(request: JobRequest) -> None:
    least, most = request.nodes, request.max_nodes
    if most is None:
        if request.idle_timeout is not None:
            raise OptionError("--idle-timeout is for a job that grows: --nodes 1:16")
        return
    if most < least:
        raise OptionError(
            f"--nodes {least}:{most}: the first number is the least and must not be above the "
            f"second: --nodes {most}:{least}"
        )
    values.count("--nodes", most)
    if request.engine == "ray":
        raise OptionError("--nodes MIN:MAX is for rayhpc's own runtime: leave out --engine ray")
    if request.array is not None:
        raise OptionError("--nodes MIN:MAX and --array exclude each other: give one of them")


def _check_texts(request: JobRequest) -> None:
    names = ("partition", "account", "qos", "constraint", "reservation", "job_name")
    for name in (*names, "dependency", "output", "venv", "conda", "container"):
        value = getattr(request, name)
        if value is not None:
            values.text(_option(name), value)
    for name, words in {"module": request.modules, **request.further}.items():
        for value in words:
            values.text(f"--{name}", value)
    for line in request.setup:
        if "\0" in line:
            raise OptionError("--setup contains a NUL")
    values.text("the working directory", request.work_dir)


def _check_amounts(request: JobRequest) -> JobRequest:
    if request.cpus_per_node is not None:
        values.count("--cpus-per-node", request.cpus_per_node)
    if request.gpus_per_node is not None:
        values.gpus("--gpus-per-node", request.gpus_per_node)
    if request.time is not None:
        values.duration("--time", request.time)
    if request.array is not None:
        values.array("--array", request.array)
    if request.mem is not None:
        return replace(request, mem=values.memory("--mem", request.mem))
    return request


def _check_environment(request: JobRequest) -> None:
    for name, value in request.env.items():
        values.variable("--env", f"{name}={value}")
    own = [name for name in ("venv", "conda", "container") if getattr(request, name) is not None]
    if len(own) > 1:
        raise OptionError(f"--{own[0]} and --{own[1]} both provide a Python: give one of them")
    if request.venv is not None and not (Path(request.venv) / "bin" / "activate").is_file():
        raise OptionError(
            f"--venv {request.venv}: it has no bin/activate; create it with "
            f"`python3 -m venv {shlex.quote(request.venv)}` and install rayhpc there"
        )
    if request.container_runtime not in RUNTIMES:
        raise OptionError(f"--container-runtime takes one of {', '.join(RUNTIMES)}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def left_out(request: JobRequest, fields: Sequence[str]) -> list[str]:
    """Which of these fields `request` has set, written as command line options."""
    empty = JobRequest(("",))
    named = [name for name in fields if getattr(request, name) != getattr(empty, name)]
    return ["--" + name.replace("_", "-") for name in named]
