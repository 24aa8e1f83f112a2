"""The requirements in `pip` and `uv` of a runtime environment: the lines of a requirements file.

Used by `runtime_env`.  Reads files on the driver's node; installs nothing: raylets do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# Ray's keys; rayhpc leaves these matters to pip.
_IGNORED = ("pip_check", "pip_version", "uv_check", "uv_version")
_OPTIONS = ("options", "pip_install_options", "uv_pip_install_options")


def lines_of(field: str, given: Any) -> dict[str, list[str]]:
    """The field as it is sent: `packages`, the lines, and `options` for the installer.

    Args:
        field: "pip" or "uv".
        given: a list of requirements, the path of a requirements file, or a dict with `packages`.

    Raises:
        TypeError: something else.
        ValueError: the file cannot be read, or the dict has an unknown key.
    """
    options: list[str] = []
    if isinstance(given, Mapping):
        for name in given:
            if name not in ("packages", *_IGNORED, *_OPTIONS):
                raise ValueError(
                    f"runtime_env[{field!r}] has no key {name!r}; valid keys are 'packages' "
                    f"and '{field}{'_pip' if field == 'uv' else ''}_install_options'."
                )
        for name in _OPTIONS:
            options += _texts(f"{field} install options", given.get(name) or [])
        given = given.get("packages")
    if isinstance(given, (str, os.PathLike)):
        given = _read(field, os.fspath(given))
    return {"packages": _texts(field, given), "options": options}


def _read(field: str, path: str) -> list[str]:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise ValueError(f"runtime_env[{field!r}]: {path!r} cannot be read: {error}") from error
    return [x for line in lines if (x := line.strip()) and not x.startswith("#")]


def _texts(field: str, given: Any) -> list[str]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(x, str) for x in given):
        raise TypeError(
            f"runtime_env[{field!r}] must be a list of requirements, the path of a requirements "
            f"file, or a dict with 'packages', not {given!r}."
        )
    return list(given)
