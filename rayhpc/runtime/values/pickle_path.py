"""Which part of a value cannot be pickled: the path to it, for an error message.

Used by `serialization` once pickling has failed, and by `util.check_serialize`.  Slow, bounded,
and never raises.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import cloudpickle

DEPTH_MAX = 8
PARTS_MAX = 200


def describe(value: Any, error: BaseException) -> str:
    """A sentence that names what cannot be sent, where it is, and what to do."""
    path, culprit = find(value)
    where = f"{_name(value)}{path}"
    return (
        f"Cannot send {where}: a {type(culprit).__name__} cannot be pickled "
        f"({type(error).__name__}: {error}). Make it inside the task or actor that needs it, leave "
        "it out with __getstate__, or send what it is made from."
    )


def find(value: Any) -> tuple[str, Any]:
    """The path (`.a[0]['key']`) to the innermost part that cannot be pickled, and that part."""
    path = ""
    seen: set[int] = set()
    for _ in range(DEPTH_MAX):
        seen.add(id(value))
        for step, part in _parts(value):
            if id(part) not in seen and not _can_be_pickled(part):
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value, each with its step of the path."""
    parts: list[tuple[str, Any]] = []
    try:
        parts = list(_all_parts(value))[:PARTS_MAX]
    except Exception:  # a value whose own methods fail has no parts to name
        parts = []
    yield from parts


def _all_parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[{key!r}]", item
    elif isinstance(value, (list, tuple, set, frozenset)):
        for i, item in enumerate(value):
            yield f"[{i}]", item
    elif inspect.isfunction(value):
        captured = inspect.getclosurevars(value)
        for name, item in {**captured.nonlocals, **captured.globals}.items():
            yield f" → variable {name!r}", item
    elif inspect.ismethod(value):
        yield ".__self__", value.__self__
    elif isinstance(value, type):
        for name, item in list(vars(value).items()):
            if not name.startswith("__") or inspect.isfunction(item):
                yield f".{name}", item
    else:
        for name, item in list(getattr(value, "__dict__", {}).items()):
            yield f".{name}", item


def _can_be_pickled(value: Any) -> bool:
    try:
        cloudpickle.dumps(value, 5)
    except Exception:
        return False
    return True


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return repr(name) if isinstance(name, str) else f"the {type(value).__name__}"
