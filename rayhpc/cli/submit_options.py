"""The options of `rayhpc submit`, and how their layers are merged into one request.

Used by `submit` and `profile`.  The command line overrides `#RAYHPC` lines, which override the
profile; lists (modules, setup lines, arguments for the scheduler, variables) are joined, the
profile's first.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from rayhpc.batch import directives, profiles, values
from rayhpc.batch.errors import OptionError
from rayhpc.batch.registry import systems
from rayhpc.batch.request import ENGINES, RUNTIMES, JobRequest, check, program_of
from rayhpc.cli.option_types import Nodes, Seconds, Span, Whole

F = TypeVar("F", bound=Callable[..., Any])

_SIZE = (
    click.option(
        "--nodes",
        "-N",
        type=Nodes(),
        default=1,
        show_default=True,
        help="Nodes; 1:16: as many of them as there is work for.",
    ),
    click.option("--cpus-per-node", type=Whole(), help="CPUs on each node."),
    click.option("--gpus-per-node", metavar="[KIND:]N", help="GPUs on each node: 4 or a100:4."),
    click.option("--mem", metavar="SIZE", help="Memory on each node: 64G; 0: all of it."),
    click.option("--time", metavar="TIME", help="Time limit: minutes, H:M:S or D-H."),
)
_QUEUE = (
    click.option("--partition", "-p", metavar="NAME", help="Partition (queue)."),
    click.option("--account", "-A", metavar="NAME", help="Account to charge."),
    click.option("--qos", metavar="NAME", help="Quality of service."),
    click.option("--constraint", "-C", metavar="LIST", help="Features the nodes must have."),
    click.option("--reservation", metavar="NAME", help="Reservation to use."),
    click.option("--exclusive/--no-exclusive", default=False, help="Do not share nodes."),
    click.option("--job-name", "-J", metavar="NAME", help="Name; default: the program's."),
    click.option("--array", metavar="TASKS", help="Run once per number: 0-9, 1,3, 0-99%4."),
    click.option("--dependency", metavar="LIST", help="Wait for other jobs: afterok:123."),
    click.option("--requeue/--no-requeue", default=None, help="Requeue after a node failure."),
    click.option("--no-kill", is_flag=True, help="Continue when a node is lost."),
    click.option("--output", "-o", metavar="FILE", help="Where the program's output goes."),
)
_FURTHER = tuple(
    click.option(
        f"--{each.name}",
        multiple=True,
        metavar="WORDS",
        help=f"Extra {each.takes_words} arguments, passed unchanged.",
    )
    for each in systems()
    if each.takes_words
)
_ENVIRONMENT = (
    click.option("--venv", metavar="DIR", help="Virtual environment to activate."),
    click.option("--conda", metavar="NAME", help="Conda environment to activate."),
    click.option("--module", "modules", multiple=True, metavar="NAME", help="Module to load."),
    click.option("--setup", multiple=True, metavar="LINE", help="Shell line to run first."),
    click.option("--container", metavar="IMAGE", help="Container image to run in."),
    click.option(
        "--container-runtime",
        type=click.Choice(RUNTIMES),
        default="auto",
        show_default=True,
        help="What runs the container.",
    ),
    click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment variable to set."),
)
_RUN = (
    click.option("--min-nodes", type=Whole(), help="Start with this many nodes; default: all."),
    click.option(
        "--idle-timeout",
        type=Seconds(zero=True),
        help="Time after which an idle node is given back, with --nodes 1:16 (default: 60 s).",
    ),
    click.option("--start-timeout", type=Seconds(zero=False), help="Time for nodes to join."),
    click.option("--as-ray/--no-as-ray", default=None, help="Serve `import ray` from rayhpc."),
    click.option("--engine", type=click.Choice(ENGINES), help="rayhpc's own, or the real Ray."),
    click.option(
        "--report/--no-report", default=None, help="A report at the end of a long job (default)."
    ),
    click.option(
        "--template", type=click.Path(path_type=Path), help="Your own job script template."
    ),
)
_TAKE_WORDS = tuple(each.name for each in systems() if each.takes_words)
_ADDING = ("modules", "setup", "env", *_TAKE_WORDS)


def job_options(function: F) -> F:
    """Decorate a command with all options that describe a job."""
    for option in reversed((*_SIZE, *_QUEUE, *_FURTHER, *_ENVIRONMENT, *_RUN)):
        function = option(function)
    return function


@click.command("submit", add_help_option=False)
@job_options
def _layer(**_: Any) -> None:
    """Parses the words of one layer below the command line."""


def parse_layer(words: Sequence[str], where: str) -> dict[str, Any]:
    """The values that `words` set, by parameter name.

    Raises OptionError, which says in which layer (`where`).
    """
    try:
        context = _layer.make_context(where, list(words))
    except click.UsageError as error:
        raise OptionError(f"{where}: {error.format_message()}") from error
    return given(context)


def given(context: click.Context) -> dict[str, Any]:
    """What was given on this command line, without defaults."""
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def request_from(
    context: click.Context,
    command: Sequence[str],
    environ: Mapping[str, str],
    profile: str | None,
    say: Callable[[str], None],
) -> JobRequest:
    """One checked request from all layers.

    Raises OptionError for invalid values, naming the layer.
    """
    words = _runnable(tuple(command))
    layers = [given(context)]
    program = program_of(words)
    if program is not None and program.is_file():
        lines = directives.read_directives(program)
        layers.append(parse_layer(lines, f"#RAYHPC lines of {program}"))
    chosen = profiles.chosen_name(environ, profile)
    if chosen is not None:
        name, why = chosen
        layers.append(from_profile(environ, name))
        say(f"profile {name} ({why})")
    merged = merge(layers)
    fields = [name for name in JobRequest.__dataclass_fields__ if name != "command"]
    return check(JobRequest(words, **{name: merged[name] for name in fields if name in merged}))


def from_profile(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    """A profile's options as parameters, each checked as on the command line."""
    found: dict[str, Any] = {}
    for setting in profiles.settings(environ, name):
        found.update(parse_layer(setting.words(), f"profile {name} ({setting.origin})"))
    return found


def merge(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One value per option; the first layer that has it wins, lists are joined."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name in _ADDING:
                merged[name] = (*value, *merged.get(name, ()))
            else:
                merged.setdefault(name, value)
    nodes = merged.get("nodes")
    if isinstance(nodes, Span):
        merged["nodes"], merged["max_nodes"] = nodes
    if "env" in merged:
        merged["env"] = dict(values.variable("--env", each) for each in merged["env"])
    merged["further"] = {
        name: tuple(word for text in merged.pop(name) for word in _split(f"--{name}", text))
        for name in _TAKE_WORDS
        if name in merged
    }
    return merged


def _split(option: str, text: str) -> list[str]:
    try:
        return shlex.split(values.text(option, text))
    except ValueError as error:
        raise OptionError(f"{option} {text!r}: {error}") from error


def _runnable(command: tuple[str, ...]) -> tuple[str, ...]:
    """`train.py` alone means `python train.py`, `job.sh` alone `bash job.sh`."""
    first = Path(command[0]) if command else None
    interpreters = {".py": "python", ".sh": "bash", ".bash": "bash"}
    if first is None or first.suffix not in interpreters or not first.is_file():
        return command
    return (interpreters[first.suffix], *command)
