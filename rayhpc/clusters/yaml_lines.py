"""YAML text as plain values, with the line on which each of them stands.

Used by `read`, whose errors name lines.  Knows nothing of clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

# The keys and indexes that lead to a value.
Path = tuple[str | int, ...]


class YamlError(Exception):
    """The text is not YAML, or says something twice.

    Args:
        line: where, from 1.
        message: what is wrong.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """A text's value, and the line of each value in it, by path."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def load(text: str) -> Document:
    """Read one document, without any tag that would run code.

    Raises:
        YamlError: not YAML, several documents, or a key that stands twice in one mapping.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(None, {})
        _refuse_doubles(node)
        value = loader.construct_document(node)
        return Document(value, dict(_lines(node, ())))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, _reason(error)) from None
    except yaml.YAMLError as error:
        raise YamlError(1, str(error)) from None
    except RecursionError:
        raise YamlError(1, "it is nested too deeply") from None
    except ValueError as error:  # such as the date 2026-99-99
        raise YamlError(1, f"a value cannot be read: {error}") from None
    finally:
        loader.dispose()


def _reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(filter(None, (error.context, error.problem))) or "this is not YAML"


def _refuse_doubles(node: yaml.Node) -> None:
    """PyYAML silently takes the last of two equal keys."""
    waiting, seen = [node], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:  # an alias
            continue
        seen.add(id(each))
        if isinstance(each, yaml.SequenceNode):
            waiting.extend(each.value)
        elif isinstance(each, yaml.MappingNode):
            _check_keys(each)
            waiting.extend(value for _, value in each.value)


def _check_keys(node: yaml.MappingNode) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in first:
                raise YamlError(line, f"{key.value!r} stands here and on line {first[key.value]}")
            first[key.value] = line


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                inner = (*path, key.value)
                yield inner, key.start_mark.line + 1
                yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index))
