"""Which files of a folder are copied: `rsync_exclude`, and `rsync_filter` files such as .gitignore.

Called by `transfer`.  Patterns mean what they mean to git and, for what clusters' files have in
them, to rsync: one with a slash is anchored, `**` crosses folders, a trailing slash is for folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Patterns:
    """What is left out: by these patterns, and by those in files of these names."""

    exclude: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rule:
    base: str  # the folder it holds in, relative to the root, with a slash at its end; or empty
    pattern: str
    wanted: bool
    folders_only: bool


def files_of(root: Path, patterns: Patterns) -> Iterator[Path]:
    """Everything below a folder that is copied, folders before what is in them, sorted.

    Symbolic links are given as themselves and not followed.
    """
    yield from _walk(root, "", [_rule("", each) for each in patterns.exclude], patterns.filters)


def is_left_out(name: str, is_folder: bool, patterns: Patterns) -> bool:
    """Whether a path, or a folder above it, is excluded by the patterns themselves."""
    rules = [_rule("", each) for each in patterns.exclude]
    parts = [each for each in name.split("/") if each not in ("", ".")]
    return any(
        _is_left_out("/".join(parts[:n]), is_folder or n < len(parts), rules)
        for n in range(1, len(parts) + 1)
    )


def _walk(
    folder: Path, inside: str, rules: Sequence[_Rule], filters: Sequence[str]
) -> Iterator[Path]:
    rules = [*rules, *_rules_in(folder, inside, filters)]
    for path in sorted(folder.iterdir()):
        is_folder = path.is_dir() and not path.is_symlink()
        if _is_left_out(f"{inside}{path.name}", is_folder, rules):
            continue
        yield path
        if is_folder:
            yield from _walk(path, f"{inside}{path.name}/", rules, filters)


def _rules_in(folder: Path, inside: str, filters: Sequence[str]) -> Iterator[_Rule]:
    for name in filters:
        try:
            lines = (folder / name).read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        for line in lines:
            text = line.rstrip()
            if text and not text.startswith("#"):
                yield _rule(inside, text)


def _rule(base: str, text: str) -> _Rule:
    wanted = text.startswith("!")
    pattern = text[1:] if wanted else text
    folders_only = pattern.endswith("/")
    return _Rule(base, pattern.rstrip("/"), wanted, folders_only)


def _is_left_out(name: str, is_folder: bool, rules: Sequence[_Rule]) -> bool:
    """Whether the last rule that matches leaves it out."""
    for rule in reversed(rules):
        if (is_folder or not rule.folders_only) and _matches(name.removeprefix(rule.base), rule):
            return not rule.wanted
    return False


def _matches(name: str, rule: _Rule) -> bool:
    if "/" in rule.pattern:
        return _compiled(rule.pattern.lstrip("/")).fullmatch(name) is not None
    return _compiled(rule.pattern).fullmatch(name.rpartition("/")[2]) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|/\*\*|\*\*|\*|\?|\[[^\]]+\])", pattern)
    return re.compile("".join(_part(each) for each in parts), re.DOTALL)


def _part(text: str) -> str:
    known = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if text in known:
        return known[text]
    if text.startswith("[") and text.endswith("]") and len(text) > 2:
        inner = text[1:-1].replace("\\", "\\\\")
        return f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
    return re.escape(text)
