"""`ClassNode`, `ClassMethodNode`: actors created when the graph runs, and method calls.

Created by `bind()` of an actor class, of a method of such a node, and of a living actor's method.
"""

from __future__ import annotations

from typing import Any

from rayhpc import ActorClass, ActorHandle, ActorMethod
from rayhpc.util.dag.constants import (
    IS_CLASS_METHOD_OUTPUT_KEY,
    PARENT_CLASS_NODE_KEY,
    PREV_CLASS_METHOD_CALL_KEY,
)
from rayhpc.util.dag.dag_node import DAGNode


class ClassNode(DAGNode):
    """An actor, created each time the graph runs; it ends with the calls of that run.

    Its methods are attributes: `node.method.bind(…)`.

    Args:
        actor_class: the actor class, with its options.
        args: the constructor's arguments, which may be or contain nodes.
        kwargs: its keyword arguments, likewise.

    Raises:
        ValueError: the graph's input is among the arguments.
    """

    def __init__(
        self, actor_class: ActorClass[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._actor_class = actor_class
        self._last_call: ClassMethodNode | None = None
        super().__init__(args, kwargs, actor_class.options_given.changed())
        if any(x._is_input() for x in self._get_all_child_nodes()):
            raise ValueError(
                "InputNode handles user dynamic input the the DAG, and cannot be used as args, "
                "kwargs, or other_args_to_resolve in ClassNode constructor because it is not "
                "available at class construction or binding time. Give it to a method instead."
            )

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self._actor_class.remote(*self._bound_args, **self._bound_kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_actor_class" not in self.__dict__:
            raise AttributeError(name)
        cls = self._actor_class.__ray_actor_class__
        if name == "bind" and not hasattr(cls, "bind"):
            raise AttributeError(f".bind() cannot be used again on {self!r}")
        getattr(cls, name)  # raises a fitting error
        return _UnboundMethod(self, name, {})

    def _label(self) -> str:
        return self._actor_class.__ray_actor_class__.__name__


class ClassMethodNode(DAGNode):
    """A call of an actor's method, or one of the results of such a call.

    Args:
        name: the method's name.
        args: its arguments, which may be or contain nodes.
        kwargs: its keyword arguments, likewise.
        options: its options.
        other_args_to_resolve: the actor, and the call bound before this one.
        method: the method itself, if the actor is already alive.
    """

    def __init__(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        other_args_to_resolve: dict[str, Any],
        method: ActorMethod | None = None,
    ) -> None:
        self._method_name = name
        self._method = method
        super().__init__(args, kwargs, options, other_args_to_resolve)

    @property
    def is_class_method_call(self) -> bool:
        """Whether it is the call itself."""
        return not self.is_class_method_output

    @property
    def is_class_method_output(self) -> bool:
        """Whether it is one of several results of a call."""
        return bool(self._bound_other_args_to_resolve.get(IS_CLASS_METHOD_OUTPUT_KEY))

    def get_method_name(self) -> str:
        """The method's name."""
        return self._method_name

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_class_method_output:
            results, index = self._bound_args
            return results[index]
        method = self._method
        if method is None:
            actor = self._bound_other_args_to_resolve[PARENT_CLASS_NODE_KEY]
            method = getattr(actor, self._method_name)
            if self._bound_options:
                method = method.options(**self._bound_options)
        return method.remote(*self._bound_args, **self._bound_kwargs)

    def _label(self) -> str:
        return self._method_name


class _UnboundMethod:
    """A method of an actor that is yet to be created."""

    def __init__(self, actor: ClassNode, name: str, options: dict[str, Any]) -> None:
        self._actor = actor
        self._name = name
        self._options = options

    def options(self, **options: Any) -> _UnboundMethod:
        """The same method with other options."""
        return _UnboundMethod(self._actor, self._name, {**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """The node for a call, which runs after all calls bound before it."""
        before = {
            PARENT_CLASS_NODE_KEY: self._actor,
            PREV_CLASS_METHOD_CALL_KEY: self._actor._last_call,
        }
        node = ClassMethodNode(self._name, args, kwargs, self._options, before)
        self._actor._last_call = node
        return node

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise AttributeError(
                ".remote() cannot be used on ClassMethodNodes. Use .bind() instead to express an "
                "symbolic actor call."
            )
        raise AttributeError(f"A method of a node has bind() and options(), not {name!r}.")


def bound_method(
    method: ActorMethod,
    handle: ActorHandle[Any],
    name: str,
    returns: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ClassMethodNode | tuple[ClassMethodNode, ...]:
    """The node for a method call on a living actor; a node per result if there are several.

    Args:
        method: the method, with its options.
        handle: the actor.
        name: the method's name.
        returns: how many results it has.
        args: its arguments, which may be or contain nodes.
        kwargs: its keyword arguments, likewise.
    """
    parent = {PARENT_CLASS_NODE_KEY: handle}
    node = ClassMethodNode(name, args, kwargs, {}, parent, method)
    if returns <= 1:
        return node
    output = {**parent, IS_CLASS_METHOD_OUTPUT_KEY: True}
    return tuple(ClassMethodNode(name, (node, i), {}, {}, output) for i in range(returns))
