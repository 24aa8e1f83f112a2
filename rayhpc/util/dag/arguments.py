"""Arguments that contain nodes of a graph, at any depth, and how these are substituted.

Used by `dag_node`.  If an argument is not a node itself, its pickle says which nodes are inside it;
references, handles and arrays in it remain the same objects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rayhpc import ActorHandle, ObjectRef
from rayhpc.util import substitution

_ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, ObjectRef, ActorHandle)
Find = Callable[[Any], bool]


class Argument:
    """One argument.

    Args:
        value: a node, something containing nodes, or neither.
        is_node: whether an object is a node.
    """

    def __init__(self, value: Any, is_node: Find) -> None:
        self._value = value
        self._pickle = b""
        self._parts: list[Any] = []
        self.nodes: list[Any] = []
        if is_node(value):
            self.nodes = [value]
        elif not _is_whole(value):
            self._take_apart(is_node)

    def fill(self, result_of: Callable[[Any], Any]) -> Any:
        """The argument with each node replaced by `result_of(node)`."""
        if not self.nodes:
            return self._value
        if not self._pickle:
            return result_of(self._value)
        known = {id(x) for x in self.nodes}
        parts = [result_of(x) if id(x) in known else x for x in self._parts]
        return substitution.loads(self._pickle, parts)

    def _take_apart(self, is_node: Find) -> None:
        def choose(part: Any) -> Any:
            return part if is_node(part) or _is_whole(part) else None

        try:
            pickled, parts = substitution.dumps(self._value, choose)
        except Exception:
            # The call reports what is wrong with it, better than `bind` can.
            return
        self.nodes = [x for x in parts if is_node(x)]
        if self.nodes:
            self._pickle, self._parts = pickled, parts


def _is_whole(value: Any) -> bool:
    """Whether it cannot contain a node, so that it need not be taken apart."""
    if isinstance(value, _ATOMS):
        return value is not None
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject
