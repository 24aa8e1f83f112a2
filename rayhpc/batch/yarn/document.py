"""The submission as text: what `--dry-run` shows, and what `submit` reads back.

Used by `jobs`.  So a user's own template decides what is submitted, not only what is shown.
The text is a subset of YAML: sections of `name: value` with values in JSON, and lists of them.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rayhpc.batch.errors import OptionError
from rayhpc.batch.yarn.application import FILE, RESOURCES

_LINE = re.compile(r"(?P<indent> *)(?P<item>- +)?(?:(?P<name>\"(?:[^\"\\]|\\.)*\"|[\w.-]+): *)?")

# What YARN's messages hold.
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Some = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Seconds = Annotated[float, Meta(gt=0)]


class Queued(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """What the queue is told."""

    name: str
    queue: str = "default"
    priority: _Count | None = None
    tags: list[str] = []
    node_label: str = ""
    lifetime: _Count = 0
    attempts: _Some = 2
    view_acl: str = ""
    modify_acl: str = ""


class Containers(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """Number and size of containers; memory in MiB, times in seconds."""

    nodes: _Some
    needed: _Some
    memory: Annotated[int, Meta(ge=1)]
    vcores: _Some = 1
    gpus: _Count = 0
    restarts: _Count = 3
    gather: _Seconds = 60.0
    start_timeout: _Seconds = 600.0


class Program(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What runs, where, with which interpreter."""

    command: list[str]
    python: str
    directory: str = ""
    options: list[str] = []


class File(msgspec.Struct, forbid_unknown_fields=True):
    """A file on this machine that each container gets."""

    name: str
    source: str
    unpack: bool = False


class Document(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole submission."""

    application: Queued
    containers: Containers
    program: Program
    environment: dict[str, str] = {}
    staging: str = "shared"
    files: list[File] = []


def read(text: str) -> Document:
    """Parse the output of a template.

    Raises:
        OptionError: it does not have that form; the text names the line or the name.
    """
    try:
        found = msgspec.convert(_parse(text), Document)
    except msgspec.ValidationError as error:
        raise OptionError(f"the application's YAML is wrong: {error}") from None
    _check_names(found.files)
    return found


def _check_names(files: list[File]) -> None:
    """Reject two files of one name: a container has one folder for all of them."""
    sources = dict.fromkeys((FILE, RESOURCES), "rayhpc's own")
    for file in files:
        other = sources.setdefault(file.name, file.source)
        if other != file.source:
            raise OptionError(
                f"two files named {file.name} are shipped, {other} and {file.source}: each "
                "container has one folder for all; rename one of them"
            )


def _parse(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        assert match is not None
        value = _value(line[match.end() :], number)
        name = match["name"] or ""
        name = json.loads(name) if name.startswith('"') else name
        if not match["indent"] and name:
            section, found[name] = name, value
        elif match["item"] and section:
            found[section] = [*(found[section] or []), value]
        elif match["indent"] and name and section:
            found[section] = {**(found[section] or {}), name: value}
        else:
            raise _wrong(number, f"{line.strip()!r} is no value")
    return {name: value for name, value in found.items() if value is not None}


def _value(text: str, number: int) -> Any:
    """A JSON value, perhaps followed by a comment; None if there is none."""
    text = text.strip()
    if not text or text.startswith("#"):
        return None
    try:
        value, end = json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except ValueError:
        raise _wrong(number, f"{text!r} is not JSON (strings need quotes)") from None
    rest = text[end:].strip()
    if rest and not rest.startswith("#"):
        raise _wrong(number, f"{rest!r} follows a value")
    return value


def _refuse(text: str) -> Any:
    """NaN and Infinity, which Python reads although they are not JSON."""
    raise ValueError(text)


def _wrong(number: int, what: str) -> OptionError:
    return OptionError(f"the application's YAML, line {number}: {what}")
