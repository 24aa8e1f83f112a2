"""What an actor's calls run: the methods of its class, and those that every actor has.

Used by `actor`.  A method is looked up in the class, as Python looks up special methods: an
instance attribute with the same name does not hide it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rayhpc.runtime.worker.host import Host


class Methods:
    """The methods of one actor, bound to its instance.

    Args:
        host: the actor.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._bound: dict[str, Callable[..., Any]] = {
            "__ray_ready__": lambda: True,
            "__ray_call__": lambda function, *args, **kwargs: function(
                host.instance, *args, **kwargs
            ),
            "__ray_terminate__": host.terminate,
        }

    def get(self, name: str) -> Callable[..., Any]:
        """A method of the instance, once that has been constructed.

        Raises:
            AttributeError: there is none with that name.
        """
        found = self._bound.get(name)
        if found is None:
            found = self._bound[name] = _bound(self._host.instance, name)
        return found


def _bound(instance: Any, name: str) -> Callable[..., Any]:
    cls = type(instance)
    for base in cls.__mro__:
        if name in vars(base):
            member = vars(base)[name]
            bind = getattr(type(member), "__get__", None)
            method: Callable[..., Any] = member if bind is None else bind(member, instance, cls)
            return method
    found: Callable[..., Any] = getattr(instance, name)
    return found
