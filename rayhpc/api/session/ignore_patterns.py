"""Which files of a folder to leave out: patterns in the syntax of `.gitignore`, as in Ray.

Used by `packages`.  Reads `.gitignore` and `.rayignore` where it finds them; never changes a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# Files with patterns for their folder and all below.
FILES = (".gitignore", ".rayignore")
_SWITCH = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"


class _Rule(NamedTuple):
    """One pattern; `again` takes back what an earlier one leaves out."""

    matches: re.Pattern[str]
    again: bool
    only_folders: bool


class Patterns:
    """The patterns of one list or file; of those that match, the last decides.

    Args:
        lines: the patterns; empty lines and comments count as none.
        folder: what they are relative to, inside the packed folder; empty: that itself.
    """

    def __init__(self, lines: Iterable[str], folder: str = "") -> None:
        self._folder = folder
        self._rules = [rule for line in lines if (rule := _rule(line)) is not None]

    def leaves_out(self, name: str, is_folder: bool) -> bool:
        """Whether a file or folder, by its path inside the packed folder, is left out."""
        if not name.startswith(self._folder):
            return False
        name = name[len(self._folder) :]
        for rule in reversed(self._rules):
            if (is_folder or not rule.only_folders) and rule.matches.fullmatch(name):
                return not rule.again
        return False


def patterns_in(path: str, folder: str, environ: Mapping[str, str]) -> list[Patterns]:
    """The patterns of the files in a folder on disk.

    Args:
        path: the folder on disk.
        folder: its path inside the packed folder, with a slash at its end; empty: that itself.
        environ: RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1 has `.gitignore` not looked at.
    """
    found = []
    for name in FILES:
        if name == FILES[0] and environ.get(_SWITCH, "0") == "1":
            continue
        try:
            with open(os.path.join(path, name), encoding="utf-8", errors="replace") as file:
                found.append(Patterns(file.read().splitlines(), folder))
        except OSError:  # as a rule there is none
            continue
    return found


def _rule(line: str) -> _Rule | None:
    line = re.sub(r"(?<!\\)\s+$", "", line)
    again = line.startswith("!")
    line = line[again:]
    only_folders = line.endswith("/")
    body = line.strip("/")
    if not body or line.startswith("#"):
        return None
    is_anchored = "/" in line.rstrip("/")
    start = "" if is_anchored else "(?:.*/)?"
    try:
        matches = re.compile(start + _regular(body), re.DOTALL)
    except re.error:  # a range that runs backwards, for example: such names exist
        matches = re.compile(start + re.escape(body), re.DOTALL)
    return _Rule(matches, again, only_folders)


_WILDCARDS = re.compile(r"^\*\*/|/\*\*/|/\*\*$|\*+|\?|\[!?\]?[^]]*\]|\\.|.", re.DOTALL)
_MEANINGS = {"**/": "(?:.*/)?", "/**/": "/(?:.*/)?", "/**": "/.*", "?": "[^/]"}


def _regular(pattern: str) -> str:
    """A pattern as a regular expression."""
    parts = []
    for part in _WILDCARDS.findall(pattern):
        if part in _MEANINGS:
            parts.append(_MEANINGS[part])
        elif part.startswith("*"):
            parts.append("[^/]*")
        elif part.startswith("[") and len(part) > 2:
            inside = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
            parts.append(f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
        else:
            parts.append(re.escape(part[-1]))
    return "".join(parts)
