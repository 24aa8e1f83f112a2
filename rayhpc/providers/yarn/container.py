"""The container that each machine is on YARN: what a node type's options say about it.

Used by `provider` for clusters of `rayhpc up`.  All containers of an application have one size, the
head's among them, so it is the head's node type that decides.
"""

from __future__ import annotations

from typing import Any

from rayhpc.batch import values
from rayhpc.batch.errors import OptionError
from rayhpc.batch.yarn.words import parse
from rayhpc.elastic.types import NodeType

# Options that have a field of the request, with what checks them.
_TEXTS = {"queue": "partition", "node-label": "constraint"}
_AMOUNTS = {
    "memory": ("mem", values.memory),
    "gpus": ("gpus_per_node", values.gpus),
    "lifetime": ("time", values.duration),
}
_VCORES = "vcores"


def words_of(kind: NodeType) -> list[str]:
    """The options as they are shown.

    Raises:
        OptionError: one is wrong, or there is none of that name.
    """
    fields_of(kind)
    return [*_words({_name(key): value for key, value in kind.options.items()})]


def fields_of(kind: NodeType) -> dict[str, Any]:
    """The options as fields of a request: `{queue: q, memory: 16G, vcores: 4, archive: e.tar.gz}`.

    Raises:
        OptionError: one is wrong, or there is none of that name.
    """
    fields: dict[str, Any] = {}
    others: dict[str, object] = {}
    for key, value in kind.options.items():
        name, told = _name(key), f"node type {kind.name}: {key}"
        if name in _TEXTS:
            fields[_TEXTS[name]] = values.text(told, str(value))
        elif name in _AMOUNTS:
            field, checked = _AMOUNTS[name]
            fields[field] = checked(told, str(value))
        elif name == _VCORES:
            fields["cpus_per_node"] = _vcores(told, value)
        else:
            others[name] = value
    words = _words(others)
    _check(kind, words)
    return {**fields, "further": {"yarn": tuple(words)}} if words else fields


def _check(kind: NodeType, words: list[str]) -> None:
    try:
        found = parse(words)
    except OptionError as error:
        known = ", ".join((*_TEXTS, *_AMOUNTS, _VCORES))
        raise OptionError(f"node type {kind.name}: {error}; beside {known}") from None
    if found.unmanaged:
        raise OptionError(
            f"node type {kind.name}: an unmanaged application ends with the command that submits "
            "it, so a cluster cannot be one: leave unmanaged out"
        )


def _vcores(told: str, value: object) -> int:
    if not isinstance(value, int):
        raise OptionError(f"{told} is {value!r}: write a whole number")
    values.count(told, value)
    return value


def _name(key: str) -> str:
    return key.strip("-").replace("_", "-")


def _words(options: dict[str, object]) -> list[str]:
    return [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()
    ]
