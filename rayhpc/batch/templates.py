"""Job scripts from templates in which every value is automatically quoted for the shell.

Called by schedulers and `rayhpc template`.  `{{ value }}` is always one shell word, a list several;
only `{{ value | verbatim }}` is not quoted.  An unknown name is an error.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayhpc.batch.errors import OptionError

if TYPE_CHECKING:
    from jinja2 import Environment


class Verbatim(str):
    """Text inserted into a script unquoted."""

    __slots__ = ()


@cache
def shipped(folder: str = "templates") -> Path:
    """A folder shipped in the wheel: inside the package, or beside it in a checkout.

    Raises FileNotFoundError if the installation lacks it.
    """
    places = {"templates": "templates", "profiles": "slurm/profiles", "job_scripts": "slurm"}
    package = Path(__file__).parents[1]
    for place in (package / folder, package.parent / places[folder]):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"this installation of rayhpc has no {folder}: reinstall it")


def names() -> list[str]:
    """All templates that a scheduler renders, like `slurm/job.sh.j2`."""
    root = shipped()
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.j2"))
    return [name for name in found if not name.startswith("common/")]


def source(name: str) -> str:
    """A shipped template's text.  Raises OptionError, listing all, for an unknown name."""
    if name not in names():
        raise OptionError(f"no template {name!r}; there are {', '.join(names())}")
    return (shipped() / name).read_text()


def render(template: str | Path, values: dict[str, Any]) -> str:
    """A shipped template (by name) or the user's own (by path), rendered.

    Raises OptionError naming file and line for one that cannot be read or rendered.
    """
    import jinja2

    environment = _environment()
    try:
        if isinstance(template, Path):
            return environment.from_string(template.read_text()).render(values)
        return environment.get_template(template).render(values)
    except OSError as error:
        raise OptionError(f"--template {template}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"--template {template} is not text: {error}") from error
    except jinja2.UndefinedError as error:
        where = _line_of(error)
        known = ", ".join(sorted(values))
        raise OptionError(f"{template}{where}: {error.message}; known are {known}") from error
    except jinja2.TemplateError as error:
        where = f":{error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise OptionError(f"{template}{where}: {error.message}") from error


def quoted(value: object) -> str:
    """A value as it is written in a script."""
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, (list, tuple)):
        return shlex.join(map(str, value))
    return shlex.quote(str(value))


@cache
def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped()),
        undefined=jinja2.StrictUndefined,
        finalize=quoted,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["verbatim"] = Verbatim
    return environment


def _line_of(error: Exception) -> str:
    """The template's line, which jinja2 puts into the last frame of the traceback."""
    frame, line = error.__traceback__, 0
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if name == "<template>" or name.endswith(".j2"):
            line = frame.tb_lineno
        frame = frame.tb_next
    return f":{line}" if line else ""
