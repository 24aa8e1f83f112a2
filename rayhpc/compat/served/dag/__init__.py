"""`ray.dag`: the classes that libraries test their arguments against; graphs are not served."""

from __future__ import annotations

from typing import Any

from rayhpc.exceptions import NotServedError


class DAGNode:
    """A node of a lazily built graph: there is none in rayhpc.

    Raises:
        NotServedError: whenever one is made.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotServedError(
            f"ray.dag.{type(self).__name__}", "call .remote() with references as arguments"
        )


class FunctionNode(DAGNode):
    """A bound function."""


class ClassNode(DAGNode):
    """A bound actor class."""


class ClassMethodNode(DAGNode):
    """A bound method."""


class InputNode(DAGNode):
    """A graph's input."""


class InputAttributeNode(DAGNode):
    """A part of a graph's input."""


class MultiOutputNode(DAGNode):
    """Several results of a graph."""


__all__ = [
    "ClassMethodNode",
    "ClassNode",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
]
