"""`DAGNode`: what all nodes of a graph share: arguments, order, and running the graph.

Used by the other modules here; programs use it to tell nodes from other arguments.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from rayhpc.util.dag.arguments import Argument

if TYPE_CHECKING:
    from rayhpc.util.dag.compiled_dag_node import CompiledDAG


class DAGNode:
    """A node of a graph.

    Args:
        args: its arguments, which may be or contain nodes.
        kwargs: its keyword arguments, likewise.
        options: the options it was bound with.
        other_args_to_resolve: nodes that precede it without being arguments, by name.
    """

    def __init__(
        self,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        other_args_to_resolve: dict[str, Any] | None = None,
    ) -> None:
        self._bound_args = tuple(args or ())
        self._bound_kwargs = dict(kwargs or {})
        self._bound_options = dict(options or {})
        self._bound_other_args_to_resolve = dict(other_args_to_resolve or {})
        self._stable_uuid = uuid.uuid4().hex
        self._args = [Argument(x, _is_node) for x in self._bound_args]
        self._kwargs = {k: Argument(v, _is_node) for k, v in self._bound_kwargs.items()}
        others = self._bound_other_args_to_resolve
        self._others = {k: Argument(v, _is_node) for k, v in others.items()}
        self.cache_from_last_execute: dict[str, Any] = {}

    # -- running ----------------------------------------------------------------------------------
    def execute(self, *args: Any, _ray_cache_refs: bool = False, **kwargs: Any) -> Any:
        """Run the graph that ends in this node: submits all calls and returns at once.

        Args:
            args: the graph's input, if it has an `InputNode`.
            kwargs: the same by name.
            _ray_cache_refs: keep each node's reference, for `get_object_refs_from_last_execute`.

        Returns:
            The result of this node's call: a reference, or a list of them; a handle for a class.
        """
        results: dict[str, Any] = {}
        found = self._apply(lambda node: node._execute_impl(*args, **kwargs), results)
        if _ray_cache_refs:
            self.cache_from_last_execute = results
        return found

    def apply_recursive(self, fn: Callable[[Any], Any]) -> Any:
        """The result of `fn` for this node, after it was called for all nodes before it.

        Args:
            fn: called once for each node, whose arguments contain its results for other nodes.
        """
        return self._apply(fn, {})

    async def get_object_refs_from_last_execute(self) -> dict[str, Any]:
        """What each node returned in the last run of the graph, by `get_stable_uuid`."""
        return dict(self.cache_from_last_execute)

    def clear_cache(self) -> None:
        """Forget what `get_object_refs_from_last_execute` returns."""
        self.cache_from_last_execute = {}

    def experimental_compile(self, *args: Any, **kwargs: Any) -> CompiledDAG:
        """An object that runs this graph uncompiled: rayhpc does not compile, and says so.

        Args:
            args: those of Ray's compiler; accepted, without effect.
            kwargs: likewise.
        """
        from rayhpc.util.dag.compiled_dag_node import CompiledDAG

        return CompiledDAG(self)

    def _apply(self, fn: Callable[[Any], Any], results: dict[str, Any]) -> Any:
        inputs: set[str] = set()
        for node in self._nodes_in_order():
            if node._is_input():
                inputs.add(node._stable_uuid)
                if len(inputs) > 1:
                    raise AssertionError("Each DAG should only have one unique InputNode.")
            results[node._stable_uuid] = fn(node._filled(lambda x: results[x._stable_uuid]))
        return results[self._stable_uuid]

    def _execute_impl(self, *args: Any, **kwargs: Any) -> Any:
        """Run only this node, whose arguments are substituted; it gets the graph's input."""
        raise TypeError(f"{type(self).__name__} cannot be executed.")

    def _is_input(self) -> bool:
        return False

    def _nodes_in_order(self) -> Iterator[DAGNode]:
        """All nodes, each after those it needs; not recursive, since graphs can be deep."""
        done: set[str] = set()
        stack: list[tuple[DAGNode, bool]] = [(self, False)]
        while stack:
            node, is_expanded = stack.pop()
            if node._stable_uuid in done:
                continue
            if is_expanded:
                done.add(node._stable_uuid)
                yield node
                continue
            stack.append((node, True))
            stack.extend((x, False) for x in reversed(node._get_all_child_nodes()))

    # -- attributes -------------------------------------------------------------------------------
    def get_args(self) -> tuple[Any, ...]:
        """The arguments."""
        return self._bound_args

    def get_kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return self._bound_kwargs.copy()

    def get_options(self) -> dict[str, Any]:
        """The options."""
        return self._bound_options.copy()

    def get_other_args_to_resolve(self) -> dict[str, Any]:
        """The nodes that precede it without being arguments."""
        return self._bound_other_args_to_resolve.copy()

    def get_stable_uuid(self) -> str:
        """An id of this node."""
        return self._stable_uuid

    def with_type_hint(self, typ: Any) -> DAGNode:
        """This node; the hint is for Ray's compiler."""
        return self

    def with_tensor_transport(self, *args: Any, **kwargs: Any) -> DAGNode:
        """This node; the transport of tensors is for Ray's compiler."""
        return self

    def _get_toplevel_child_nodes(self) -> list[DAGNode]:
        """The nodes that are arguments themselves, once each."""
        every = (self._bound_args, self._bound_kwargs, self._bound_other_args_to_resolve)
        values = itertools.chain(every[0], every[1].values(), every[2].values())
        return _once(x for x in values if isinstance(x, DAGNode))

    def _get_all_child_nodes(self) -> list[DAGNode]:
        """The nodes in the arguments at any depth, once each."""
        every = (self._args, self._kwargs.values(), self._others.values())
        return _once(node for x in itertools.chain(*every) for node in x.nodes)

    def _apply_and_replace_all_child_nodes(self, fn: Callable[[DAGNode], Any]) -> DAGNode:
        """A copy of this node with `fn(child)` in place of each child."""
        made = {x._stable_uuid: fn(x) for x in self._get_all_child_nodes()}
        copy = self._filled(lambda x: made[x._stable_uuid])
        DAGNode.__init__(
            copy,
            copy._bound_args,
            copy._bound_kwargs,
            copy._bound_options,
            copy._bound_other_args_to_resolve,
        )
        return copy

    def _filled(self, result_of: Callable[[Any], Any]) -> DAGNode:
        """A copy of this node whose arguments contain results in place of nodes."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._bound_args = tuple(x.fill(result_of) for x in self._args)
        copy._bound_kwargs = {k: x.fill(result_of) for k, x in self._kwargs.items()}
        copy._bound_other_args_to_resolve = {k: x.fill(result_of) for k, x in self._others.items()}
        return copy

    def __reduce__(self) -> NoReturn:
        raise ValueError(
            f"{self} cannot be sent: it is a node of a graph, not a value. Run the graph with "
            "execute() and send its result, or bind() the node to the call that needs it."
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._label()})"

    def _label(self) -> str:
        return self._stable_uuid[:8]


def _is_node(value: Any) -> bool:
    return isinstance(value, DAGNode)


def _once(nodes: Iterator[DAGNode]) -> list[DAGNode]:
    return list({x._stable_uuid: x for x in nodes}.values())
