"""Classes of other libraries that do not survive pickling unaided, and how they are sent.

Used by `serialization`.  Imports none of these libraries: their classes are registered once the
program has imported them, and cost nothing before.

A FastAPI application needs two: starlette's `State` looks up every attribute in a dict that does
not exist yet while it is being rebuilt, and model fields of pydantic 1 contain compiled functions.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

STATE_MODULE = "starlette.datastructures"

# Reducers only for cloudpickle: `copy` must keep copying these as before.
reducers: dict[type, Callable[[Any], Any]] = {}

# In a pydantic 1 field: lists of functions, many of them compiled, which are rebuilt from the rest.
_VALIDATORS = ("validators", "pre_validators", "post_validators")


def register_loaded() -> None:
    """Register the classes of what the program has imported since the last call."""
    for name in [x for x in _awaited if x in sys.modules]:
        _awaited.pop(name)(sys.modules[name])


def _register_state(module: ModuleType) -> None:
    # Plain pickle, which is tried first, would produce a pickle that cannot be rebuilt.
    copyreg.pickle(module.State, _reduce_state)


def _register_fields(module: ModuleType) -> None:
    kind = getattr(module, "ModelField", None)
    if kind is not None:  # pydantic 2's own fields can be pickled
        reducers[kind] = _reduce_field


def _reduce_state(state: Any) -> tuple[Any, ...]:
    return type(state), (state._state,)


def _reduce_field(field: Any) -> tuple[Any, ...]:
    slots = [x for x in type(field).__slots__ if x not in _VALIDATORS and hasattr(field, x)]
    state = {name: getattr(field, name) for name in slots}
    # In two steps, since a model's field may refer to the model.
    return object.__new__, (type(field),), state, None, None, _set_field


def _set_field(field: Any, state: dict[str, Any]) -> None:
    field.validators = []
    for name, value in state.items():
        setattr(field, name, value)
    field.populate_validators()


_awaited: dict[str, Callable[[ModuleType], None]] = {
    STATE_MODULE: _register_state,
    "pydantic.fields": _register_fields,
    "pydantic.v1.fields": _register_fields,
}
