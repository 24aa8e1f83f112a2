"""From a request to the application's YAML: what is shipped, and what runs rayhpc on the nodes.

Used by `jobs`.  Looks at the files to be shipped; queries nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rayhpc.batch import values
from rayhpc.batch.errors import OptionError
from rayhpc.batch.rendering import run_options
from rayhpc.batch.request import JobRequest
from rayhpc.batch.templates import Verbatim, render
from rayhpc.batch.yarn.staging import ARCHIVES
from rayhpc.batch.yarn.words import YarnOptions

_ENVIRONMENT = "environment"
_WHEEL = "rayhpc-wheel"
_MIB = 1 << 20
_MEMORY_MIB = 2048
_FIRST_ATTEMPTS, _NO_REQUEUE = 2, 1


def render_yaml(
    template: str | Path, request: JobRequest, options: YarnOptions, staging: str
) -> str:
    """The application's YAML.

    Args:
        template: the shipped one, or the user's.
        request: the request.
        options: those of `--yarn`.
        staging: `shared`, `webhdfs` or `hdfs`.

    Raises:
        OptionError: a file is missing, or an archive lacks Python or rayhpc.
    """
    is_shared = staging == "shared"
    ships_program = not is_shared and request.program is not None
    known = {
        "name": request.name,
        "queue": request.partition or "default",
        "priority": options.priority,
        "tags": ["rayhpc", *options.tags],
        "node_label": request.constraint or "",
        "lifetime": _lifetime(request),
        "attempts": _NO_REQUEUE if request.requeue is False else _FIRST_ATTEMPTS,
        "view_acl": options.view_acl,
        "modify_acl": options.modify_acl,
        "nodes": request.nodes,
        "needed": request.min_nodes or request.nodes,
        "memory": _memory(request),
        "vcores": request.cpus_per_node or 1,
        "gpus": values.gpu_count(request.gpus_per_node) if request.gpus_per_node else 0,
        "restarts": options.restarts,
        "gather": options.gather,
        "start_timeout": request.start_timeout or 600.0,
        "command": _command(request, ships_program),
        "directory": request.work_dir if is_shared else "",
        "python": _python(request, options),
        "options": _without_times(run_options(request)),
        "staging": staging,
    }
    shown = {name: _json(value) for name, value in known.items()}
    shown_files = [_json(each) for each in _files(request, options, ships_program)]
    environment = [(_json(name), _json(value)) for name, value in request.env.items()]
    lists = {"files": shown_files, "environment": environment}
    return render(request.template or template, {**shown, **lists})


def _json(value: Any) -> Verbatim:
    return Verbatim(json.dumps(value))


def _lifetime(request: JobRequest) -> int:
    limit = values.seconds(request.time) if request.time else None
    return int(limit or 0)


def _memory(request: JobRequest) -> int:
    if request.mem is None:
        return _MEMORY_MIB
    found = values.memory_bytes(request.mem) // _MIB
    if found == 0:
        raise OptionError("--mem 0: YARN has no whole nodes; say how much, as in --mem 16G")
    return found


def _python(request: JobRequest, options: YarnOptions) -> str:
    """What runs rayhpc on the nodes: given, from the archive, from --venv, or as here."""
    if options.python:
        return options.python
    if options.archive:
        return f"./{_ENVIRONMENT}/bin/python"
    if request.venv is not None:
        return os.path.join(os.path.abspath(request.venv), "bin", "python")
    return sys.executable


def _command(request: JobRequest, ships_program: bool) -> list[str]:
    """The program's command; a shipped script is in the container's folder."""
    if not ships_program:
        return list(request.command)
    program = str(request.program)
    return [os.path.basename(word) if word == program else word for word in request.command]


def _without_times(words: list[str]) -> list[str]:
    """`rayhpc run`'s options except those that the ApplicationMaster must not give."""
    kept = list(words)
    for name in ("--min-nodes", "--start-timeout"):
        if name in kept:
            at = kept.index(name)
            del kept[at : at + 2]
    return kept


def _files(
    request: JobRequest, options: YarnOptions, ships_program: bool
) -> Iterator[dict[str, Any]]:
    if ships_program:
        yield _file(str(request.program))
    for source in (*options.py_files, *options.files):
        yield _file(source)
    if options.wheel:
        _check_wheel(options.wheel)
        yield _file(options.wheel, name=_WHEEL, unpack=True)
    if options.archive:
        _check_archive(options)
        yield _file(options.archive, name=_ENVIRONMENT, unpack=True)


def _file(source: str, name: str = "", unpack: bool = False) -> dict[str, Any]:
    path = Path(source).absolute()
    if not path.is_file():
        raise OptionError(f"--yarn: there is no file {source} to ship")
    return {"name": name or path.name, "source": str(path), "unpack": unpack}


def _check_archive(options: YarnOptions) -> None:
    """Reject an environment that could not run anything."""
    path = Path(options.archive)
    if not path.name.endswith(ARCHIVES):
        raise OptionError(
            f"--yarn --archive {path}: YARN unpacks {', '.join(ARCHIVES)}; make one with "
            "venv-pack or conda-pack"
        )
    names = _names_in(path, "--archive")
    if not options.python and not names & {"bin/python", "bin/python3"}:
        raise OptionError(f"--yarn --archive {path} has no bin/python: make it with venv-pack")
    has_rayhpc = any(name.endswith("site-packages/rayhpc/__init__.py") for name in names)
    if not has_rayhpc and not options.wheel:
        raise OptionError(
            f"--yarn --archive {path} lacks rayhpc: install it in that environment and pack it "
            "again, or ship it with --wheel"
        )


def _check_wheel(source: str) -> None:
    """Reject a file from which rayhpc could not be loaded."""
    path = Path(source)
    if path.is_file() and "rayhpc/__init__.py" not in _names_in(path, "--wheel"):
        raise OptionError(
            f"--yarn --wheel {path} is no wheel of rayhpc: `pip wheel --no-deps` of it makes one"
        )


def _names_in(path: Path, option: str) -> set[str]:
    import tarfile
    import zipfile

    try:
        if path.suffix in (".zip", ".whl"):
            with zipfile.ZipFile(path) as packed:
                found = packed.namelist()
        else:
            with tarfile.open(path) as archive:
                found = archive.getnames()
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise OptionError(f"--yarn {option} {path} cannot be read: {error}") from None
    return {name.removeprefix("./") for name in found}
