"""Whether arguments match a function's signature, checked before a call leaves the process.

Used by `remote_function` and the actor modules.  A `Shape` is a signature without defaults and
annotations, so that every actor handle can carry it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """The parameters of a function, each as (name, kind, has a default).

    `least` and `most` bound the number of arguments if all are positional; -1: none fit.
    """

    parameters: list[tuple[str, int, bool]]
    least: int
    most: int

    def check(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check the arguments of a call; raises TypeError with the function's name."""
        if not kwargs and self.least <= len(args) <= self.most:
            return
        try:
            self._signature().bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}(): {error}") from None

    def _signature(self) -> inspect.Signature:
        empty = inspect.Parameter.empty
        return inspect.Signature(
            [
                inspect.Parameter(
                    name, inspect._ParameterKind(kind), default=None if optional else empty
                )
                for name, kind, optional in self.parameters
            ]
        )


def shape_of(function: Callable[..., Any], *, skip: int = 0) -> Shape | None:
    """The parameters of `function` without the first `skip` (self); None if unknown."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    while skip and found and found[0].kind in _POSITIONAL:
        del found[0]
        skip -= 1
    return _shape([(p.name, int(p.kind), p.default is not p.empty) for p in found])


def _shape(parameters: list[tuple[str, int, bool]]) -> Shape:
    least = most = 0
    for _, kind, optional in parameters:
        if kind in _POSITIONAL:
            most += 1
            least += not optional
        elif kind == inspect.Parameter.VAR_POSITIONAL:
            most = 2**31
        elif kind == inspect.Parameter.KEYWORD_ONLY and not optional:
            return Shape(parameters, 0, -1)
    return Shape(parameters, least, most)


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether a call yields its results one by one."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call runs on an event loop."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
