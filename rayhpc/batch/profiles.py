"""Profiles: options shared by all jobs of a site or project, as TOML files.

    extends = "lumi"                      # another profile below this one
    [match]
    cluster = "lumi"                      # the batch system's name for it, or hostname = "uan*"
    [submit]
    partition = "standard-g"
    gpus-per-node = 8
    module = ["cray-python"]

rayhpc ships examples of real sites; the user's own, in ~/.config/rayhpc/profiles, take precedence.
Read by `rayhpc submit` and `rayhpc profile`.  Options are command line words, so that a wrong one
gets the same error as there.
"""

from __future__ import annotations

import fnmatch
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayhpc.batch.errors import OptionError
from rayhpc.batch.registry import systems
from rayhpc.batch.templates import shipped

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEYS = {"description", "extends", "match", "submit"}
_MATCHES = {"cluster", "hostname"}
_DEPTH = 8


@dataclass(frozen=True)
class Profile:
    """One file: its options by name, as in TOML."""

    name: str
    path: Path
    options: dict[str, Any]
    description: str = ""
    extends: str | None = None
    match: dict[str, str] | None = None


@dataclass(frozen=True)
class Setting:
    """One option of a profile and the file that sets it."""

    option: str
    value: Any
    origin: Path

    def words(self) -> list[str]:
        """The option as command line words."""
        flag = "--" + self.option.replace("_", "-")
        if isinstance(self.value, bool):
            return [flag if self.value else "--no-" + flag[2:]]
        if isinstance(self.value, Mapping):
            return [word for key, value in self.value.items() for word in (flag, f"{key}={value}")]
        several = self.value if isinstance(self.value, list) else [self.value]
        return [word for value in several for word in (flag, str(value))]


def config_dir(environ: Mapping[str, str]) -> Path:
    """~/.config/rayhpc, or the directory that XDG_CONFIG_HOME names."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(base) / "rayhpc"


def known(environ: Mapping[str, str]) -> dict[str, Path]:
    """All profiles by name, the user's own before the shipped ones."""
    found: dict[str, Path] = {}
    for directory in (config_dir(environ) / "profiles", shipped("profiles")):
        for path in sorted(directory.glob("*.toml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def load(environ: Mapping[str, str], name: str) -> Profile:
    """One profile.  Raises OptionError saying what is wrong with the file and where."""
    path = Path(name) if name.endswith(".toml") else known(environ).get(name)
    if path is None:
        there = ", ".join(known(environ))
        raise OptionError(f"no profile {name!r}; choose from {there} (see `rayhpc profile list`)")
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: {error}") from error
    _check(path, content)
    return Profile(
        path.stem,
        path,
        dict(content.get("submit", {})),
        content.get("description", ""),
        content.get("extends"),
        content.get("match"),
    )


def settings(environ: Mapping[str, str], name: str) -> list[Setting]:
    """All options of a profile and of those it extends, each from the file that decides it.

    Raises OptionError for an invalid file and for profiles that extend each other in a circle.
    """
    chosen: dict[str, Setting] = {}
    following: str | None = name
    for _ in range(_DEPTH):
        if following is None:
            return [chosen[option] for option in sorted(chosen)]
        profile = load(environ, following)
        for option, value in profile.options.items():
            name_of = option.replace("_", "-")
            chosen.setdefault(name_of, Setting(name_of, value, profile.path))
        following = None if profile.extends == profile.name else profile.extends
    raise OptionError(f"profile {name!r} extends others more than {_DEPTH} deep, or in a circle")


def chosen_name(environ: Mapping[str, str], told: str | None = None) -> tuple[str, str] | None:
    """The profile in effect and what selected it: option, RAYHPC_PROFILE, `profile use`, a match.

    None if there is none.  `none`, as an option or a choice, turns profiles off.
    """
    named = (
        (told, "--profile"),
        (environ.get("RAYHPC_PROFILE"), "RAYHPC_PROFILE"),
        (_used(environ), "rayhpc profile use"),
    )
    for name, source in named:
        if name:
            return None if name == "none" else (name, source)
    return _matching(environ)


def use(environ: Mapping[str, str], name: str) -> Path:
    """Make `name` (or `none`) the default profile; returns the file that records it.

    Raises OptionError if there is no such profile or it is invalid.
    """
    if name != "none":
        settings(environ, name)
    path = config_dir(environ) / "profile"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(name + "\n")
    return path


def cluster_name(environ: Mapping[str, str]) -> str | None:
    """The name of this cluster, from the first batch system that has one; asks no controller."""
    return next(filter(None, (each.cluster_name(environ) for each in systems())), None)


def _matching(environ: Mapping[str, str]) -> tuple[str, str] | None:
    cluster, hostname = cluster_name(environ), platform.node()
    for name in known(environ):
        match = load(environ, name).match or {}
        if cluster and fnmatch.fnmatchcase(cluster, match.get("cluster", "")):
            return name, f"this cluster is {cluster}"
        if fnmatch.fnmatchcase(hostname, match.get("hostname", "")):
            return name, f"this host is {hostname}"
    return None


def _used(environ: Mapping[str, str]) -> str | None:
    return next(iter(_lines(str(config_dir(environ) / "profile"))), None)


def _lines(path: str) -> Iterator[str]:
    try:
        with open(path) as file:
            yield from (line.strip() for line in file)
    except (OSError, UnicodeDecodeError):
        return


def _check(path: Path, content: dict[str, Any]) -> None:
    unknown = set(content) - _KEYS
    if unknown:
        raise OptionError(
            f"{path}: {sorted(unknown)[0]!r} is unknown; options of submit go under [submit], "
            f"other valid keys are {', '.join(sorted(_KEYS - {'submit'}))}"
        )
    tables = {name: content.get(name, {}) for name in ("match", "submit")}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise OptionError(f"{path}: {name} is a table: write [{name}]")
    for key, value in tables["match"].items():
        if key not in _MATCHES or not isinstance(value, str):
            raise OptionError(f"{path}: [match] takes cluster and hostname, each a text")
    for key in ("extends", "description"):
        if not isinstance(content.get(key, ""), str):
            raise OptionError(f"{path}: {key} takes a text")
