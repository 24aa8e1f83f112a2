"""Marks on public names that say how stable they are.  The names are Ray's; libraries use them.

Used by programs and libraries as decorators.  Changes only docstrings and warnings.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class AnnotationType(Enum):
    """The meaning of a mark."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


class RayDeprecationWarning(DeprecationWarning):
    """Something marked as deprecated was used."""


if not sys.warnoptions:
    warnings.filterwarnings("module", category=RayDeprecationWarning)


def PublicAPI(*args: Any, stability: str = "stable", api_group: str = "Others") -> Any:  # noqa: N802
    """Mark a function or class as public.

    Args:
        args: the function or class, if the decorator is used bare.
        stability: "stable", "beta" or "alpha".
        api_group: the section of the documentation it belongs to.

    Raises:
        ValueError: another stability.
    """
    if stability not in ("stable", "beta", "alpha"):
        raise ValueError(f"stability is 'stable', 'beta' or 'alpha', not {stability!r}.")
    text = "" if stability == "stable" else f"**PublicAPI ({stability}):** may still change."
    return _apply(args, lambda x: _mark(x, AnnotationType.PUBLIC_API, text, api_group))


def DeveloperAPI(*args: Any, api_group: str = "Others") -> Any:  # noqa: N802
    """Mark a function or class as meant for developers of libraries.

    Args:
        args: the function or class, if the decorator is used bare.
        api_group: the section of the documentation it belongs to.
    """
    text = "**DeveloperAPI:** may change between minor versions."
    return _apply(args, lambda x: _mark(x, AnnotationType.DEVELOPER_API, text, api_group))


def Deprecated(*args: Any, message: str = "", warning: bool = False) -> Any:  # noqa: N802
    """Mark a function or class as deprecated.

    Args:
        args: the function or class, if the decorator is used bare.
        message: what to use instead.
        warning: also warn (`RayDeprecationWarning`) whenever it is used.
    """
    text = f"**DEPRECATED:** may be removed. {message}".strip()

    def mark(thing: Any) -> Any:
        marked = _mark(thing, AnnotationType.DEPRECATED, text, "Others")
        return _warning(marked, text) if warning else marked

    return _apply(args, mark)


def _apply(args: tuple[Any, ...], mark: Callable[[Any], Any]) -> Any:
    if len(args) == 1 and callable(args[0]):
        return mark(args[0])
    return mark


def _mark(thing: T, kind: AnnotationType, text: str, group: str) -> T:
    if text:
        doc = inspect.cleandoc(thing.__doc__ or "")
        thing.__doc__ = f"{doc}\n\n{text}".strip()
    if hasattr(thing, "__name__"):
        vars_of: Any = thing
        vars_of._annotated = thing.__name__
        vars_of._annotated_type = kind
        vars_of._annotated_api_group = group
    return thing


def _warning(thing: Any, text: str) -> Any:
    if inspect.isclass(thing):
        initialise = thing.__init__

        @functools.wraps(initialise)
        def warn_and_initialise(self: Any, *args: Any, **kwargs: Any) -> None:
            warnings.warn(text, RayDeprecationWarning, stacklevel=2)
            initialise(self, *args, **kwargs)

        vars_of: Any = thing
        vars_of.__init__ = warn_and_initialise
        return thing

    @functools.wraps(thing)
    def warn_and_call(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(text, RayDeprecationWarning, stacklevel=2)
        return thing(*args, **kwargs)

    return warn_and_call
