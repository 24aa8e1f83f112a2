"""`MultiOutputNode`: several outputs of a graph that runs as one.

Used by programs.
"""

from __future__ import annotations

from typing import Any

from rayhpc.util.dag.dag_node import DAGNode


class MultiOutputNode(DAGNode):
    """The end of a graph with several results: `execute` returns a list.

    Args:
        args: a list or tuple of nodes.

    Raises:
        ValueError: something else.
    """

    def __init__(self, args: Any, other_args_to_resolve: dict[str, Any] | None = None) -> None:
        if not isinstance(args, (list, tuple)):
            raise ValueError(f"Invalid input type for `args`, {type(args)}: give a list of nodes.")
        super().__init__(args, {}, {}, other_args_to_resolve)

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        return list(self._bound_args)
