"""`FunctionNode`: a call of a remote function.

Created by `bind()` of a remote function.
"""

from __future__ import annotations

from typing import Any

from rayhpc import RemoteFunction
from rayhpc.util.dag.dag_node import DAGNode


class FunctionNode(DAGNode):
    """A call of a remote function.

    Args:
        function: the remote function, with its options.
        args: the arguments, which may be or contain nodes.
        kwargs: the keyword arguments, likewise.
    """

    def __init__(
        self, function: RemoteFunction[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._function = function
        super().__init__(args, kwargs, function.options_given.changed())

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self._function.remote(*self._bound_args, **self._bound_kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise AttributeError(
                ".remote() cannot be used on a node: run the graph with execute()."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _label(self) -> str:
        return self._function.name
