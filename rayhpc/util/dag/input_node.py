"""`InputNode`: the argument of `execute`, and parts of it by attribute, key or position.

Used by programs: `with InputNode() as given: graph = f.bind(given.x, given[0])`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rayhpc.util.dag.dag_node import DAGNode

_ONLY = "Please only use int index or str as first-level key to access fields of dag input."


class InputNode(DAGNode):
    """A graph's input; a graph has at most one.

    Args:
        args: must be empty.
        input_type: accepted, without effect.
        kwargs: must be empty.

    Raises:
        ValueError: there are arguments.
    """

    def __init__(self, *args: Any, input_type: Any = None, **kwargs: Any) -> None:
        if args or kwargs:
            raise ValueError("InputNode should not take any args or kwargs.")
        self._is_entered = False
        self._parts: dict[Any, InputAttributeNode] = {}
        super().__init__()

    def __enter__(self) -> InputNode:
        self._is_entered = True
        return self

    def __exit__(self, *_: object) -> None:
        """The graph has been built."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_parts" not in self.__dict__:
            raise AttributeError(name)
        return self._part(name, is_attribute=True)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, (int, str)):
            raise AssertionError(_ONLY)
        return self._part(key, is_attribute=False)

    def __iter__(self) -> NoReturn:
        raise TypeError("The parts of an InputNode are not known: name each by its position.")

    def _part(self, key: int | str, is_attribute: bool) -> InputAttributeNode:
        made = InputAttributeNode(self, key, is_attribute)
        return self._parts.setdefault((key, is_attribute), made)

    def _is_input(self) -> bool:
        return True

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        if not self._is_entered:
            raise AssertionError(
                "InputNode is a singleton instance that should be only used in context manager "
                "for dag building and execution: with InputNode() as given: …"
            )
        if len(args) == 1 and not kwargs:
            return args[0]
        return DAGInputData(*args, **kwargs)


class InputAttributeNode(DAGNode):
    """A part of a graph's input.

    Args:
        given: the input.
        key: its position, name or key.
        is_attribute: whether it is an attribute of the input.
    """

    def __init__(self, given: InputNode, key: int | str, is_attribute: bool) -> None:
        self._key = key
        self._is_attribute = is_attribute
        super().__init__(other_args_to_resolve={"dag_input_node": given})

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        given = self._bound_other_args_to_resolve["dag_input_node"]
        if self._is_attribute and not isinstance(given, DAGInputData):
            return getattr(given, str(self._key))
        return given[self._key]

    def _label(self) -> str:
        return repr(self._key)


class DAGInputData:
    """Several values passed to `execute`: by position, and by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = list(args)
        self._kwargs = kwargs

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            return self._args[key]
        if isinstance(key, str):
            return self._kwargs[key]
        raise ValueError(_ONLY)
