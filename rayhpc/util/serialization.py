"""Serializers of one's own for classes that cannot be pickled, or better otherwise.

Used by programs.  A registration holds in the process that sends; what it sends carries its own
deserializer, so that the receiver needs none.
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
    """Send instances of `cls` (exactly that class) as what `serializer` makes of them.

    Args:
        cls: the class.
        serializer: from an instance to something that can be pickled.
        deserializer: the reverse; it travels along.

    Raises:
        TypeError: `cls` is no class, or one of the functions cannot be called.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer needs a class, not {cls!r}.")
    if not callable(serializer) or not callable(deserializer):
        raise TypeError("serializer and deserializer are functions.")
    packed = cloudpickle.dumps(deserializer, 5)

    def reduce(instance: T) -> tuple[Any, ...]:
        return _rebuild, (packed, serializer(instance))

    copyreg.pickle(cls, reduce)


def deregister_serializer(cls: type[Any]) -> None:
    """Undo `register_serializer`; nothing happens if there was none."""
    copyreg.dispatch_table.pop(cls, None)


def _rebuild(packed: bytes, value: Any) -> Any:
    return cloudpickle.loads(packed)(value)
