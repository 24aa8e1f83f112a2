"""The arguments of a call as one object to pickle, and the inverse.

Used by `api.tasks.submitting`, which packs them, and by `worker.execution`, which unpacks them.
Top-level references are taken out: the task gets their values instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayhpc.runtime.values.references import ObjectRef

_NONE_NAMED: dict[str, Any] = {}


def pack(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[ObjectRef[Any]]]:
    """The object to pickle, and the top-level references in the order that `unpack` expects."""
    deps: list[ObjectRef[Any]] = [x for x in args if isinstance(x, ObjectRef)]
    deps += [x for x in kwargs.values() if isinstance(x, ObjectRef)]
    if not deps and not kwargs:
        return args, deps
    places: list[int | str] = [i for i, x in enumerate(args) if isinstance(x, ObjectRef)]
    places += [k for k, x in kwargs.items() if isinstance(x, ObjectRef)]
    plain = [None if isinstance(x, ObjectRef) else x for x in args]
    named = {k: None if isinstance(x, ObjectRef) else x for k, x in kwargs.items()}
    return [plain, named, places], deps


def unpack(packed: Any, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments; `values` are those of the references."""
    if type(packed) is tuple:
        return packed, _NONE_NAMED
    args, kwargs, places = packed
    for place, value in zip(places, values, strict=True):
        if type(place) is int:
            args[place] = value
        else:
            kwargs[place] = value
    return tuple(args), kwargs
