"""What `bind()` of functions, classes and methods returns: nodes of graphs that run later.

Used by `remote_function`, `actor_class` and `actor_method`.  Graphs are built on this API, in
`util.dag`, which is loaded when the first node is created.
"""

from __future__ import annotations

import importlib
from typing import Any


def function_node(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The node for a call of a remote function."""
    return _graphs().FunctionNode(function, args, kwargs)


def class_node(actor_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The node for an actor that is created when the graph runs."""
    return _graphs().ClassNode(actor_class, args, kwargs)


def method_node(
    method: Any, handle: Any, name: str, returns: int, args: Any, kwargs: dict[str, Any]
) -> Any:
    """The node for a method call on a living actor; a tuple of nodes if it has several results.

    Args:
        method: the method, with its options.
        handle: the actor's handle.
        name: the method's name.
        returns: how many results it has, in the form messages carry it.
        args: its arguments, which may be or contain nodes.
        kwargs: its keyword arguments, likewise.
    """
    return _graphs().class_node.bound_method(method, handle, name, returns, args, kwargs)


def _graphs() -> Any:
    return importlib.import_module("rayhpc.util.dag")
