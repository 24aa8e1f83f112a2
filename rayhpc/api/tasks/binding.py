"""What `bind()` of functions, classes and methods makes: nodes of graphs that run later.

Used by `remote_function`, `actor_class` and `actor_method`.  The graphs are built on this API, in
`util.dag`, which is loaded when the first node is made.
"""

from __future__ import annotations

import importlib
from typing import Any


def function_node(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The node of a call of a remote function."""
    return _graphs().FunctionNode(function, args, kwargs)


def class_node(actor_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The node of an actor that is made when the graph runs."""
    return _graphs().ClassNode(actor_class, args, kwargs)


def method_node(
    method: Any, handle: Any, name: str, returns: int, args: Any, kwargs: dict[str, Any]
) -> Any:
    """The node of a call of a living actor's method; a tuple of nodes if it has several results.

    Args:
        method: the method, with its options.
        handle: the actor's handle.
        name: the method's name.
        returns: how many results it has, as messages carry it.
        args: its arguments, which may be nodes or hold some.
        kwargs: its keyword arguments, likewise.
    """
    return _graphs().class_node.bound_method(method, handle, name, returns, args, kwargs)


def _graphs() -> Any:
    return importlib.import_module("rayhpc.util.dag")
