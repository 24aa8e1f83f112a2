"""The submission as text: what `--dry-run` shows, and what `submit` reads back.

Used by `jobs`.  So a user's own template decides what is submitted, not only what is shown.
The text is a subset of YAML: sections of `name: value` with values in JSON, and lists of them.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from rayhpc.batch.errors import OptionError

_LINE = re.compile(r"(?P<indent> *)(?P<item>- +)?(?:(?P<name>\"(?:[^\"\\]|\\.)*\"|[\w.-]+): *)?")


class Queued(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """What the queue is told."""

    name: str
    queue: str = "default"
    priority: int | None = None
    tags: list[str] = []
    node_label: str = ""
    lifetime: int = 0
    attempts: int = 2
    view_acl: str = ""
    modify_acl: str = ""


class Containers(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """Number and size of containers; memory in MiB, times in seconds."""

    nodes: int
    needed: int
    memory: int
    vcores: int = 1
    gpus: int = 0
    restarts: int = 3
    gather: float = 60.0
    start_timeout: float = 600.0


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
        return msgspec.convert(_parse(text), Document)
    except msgspec.ValidationError as error:
        raise OptionError(f"the application's YAML is wrong: {error}") from None


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
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        raise _wrong(number, f"{text!r} is not JSON (strings need quotes)") from None
    rest = text[end:].strip()
    if rest and not rest.startswith("#"):
        raise _wrong(number, f"{rest!r} follows a value")
    return value


def _wrong(number: int, what: str) -> OptionError:
    return OptionError(f"the application's YAML, line {number}: {what}")
