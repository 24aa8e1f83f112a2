"""Custom serializers for classes that cannot be pickled, or not well.

Used by programs.  A registration is valid in the sending process; what it sends includes the
deserializer, so the receiver needs no registration.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, TypeVar

import cloudpickle

T = TypeVar("T")


def register_serializer(
    cls: type[T], *, serializer: Callable[[T], Any], deserializer: Callable[[Any], T]
) -> None:
    """Send instances of `cls` (exactly that class) in the form that `serializer` gives them.

    Args:
        cls: the class.
        serializer: converts an instance to something that can be pickled.
        deserializer: the inverse; it is sent along.

    Raises:
        TypeError: `cls` is not a class, or one of the functions is not callable.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer needs a class, not {cls!r}.")
    if not callable(serializer) or not callable(deserializer):
        raise TypeError("serializer and deserializer must be functions.")
    packed = cloudpickle.dumps(deserializer, 5)

    def reduce(instance: T) -> tuple[Any, ...]:
        return _rebuild, (packed, serializer(instance))

    copyreg.pickle(cls, reduce)


def deregister_serializer(cls: type[Any]) -> None:
    """Undo `register_serializer`; a no-op if there was none."""
    copyreg.dispatch_table.pop(cls, None)


def _rebuild(packed: bytes, value: Any) -> Any:
    return cloudpickle.loads(packed)(value)
