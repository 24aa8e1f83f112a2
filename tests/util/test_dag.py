"""Graphs of tasks and actor calls, on one node and on two."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import rayhpc
from rayhpc.util.dag import (
    PARENT_CLASS_NODE_KEY,
    PREV_CLASS_METHOD_CALL_KEY,
    DAGNode,
    InputNode,
    MultiOutputNode,
    compiled_dag_node,
)

pytestmark = pytest.mark.usefixtures("nodes")


@rayhpc.remote
def add(*values: Any) -> Any:
    return sum(values)


@rayhpc.remote
def double(value: Any) -> Any:
    return 2 * value


@rayhpc.remote
def same(value: Any) -> Any:
    return value


@rayhpc.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.count = start

    def add(self, by: int) -> int:
        self.count += by
        return self.count

    def get(self) -> int:
        return self.count

    @rayhpc.method(num_returns=2)
    def both(self, value: int) -> tuple[int, int]:
        return self.count, value


@dataclasses.dataclass
class Given:
    a: int
    b: int


def run(node: Any, *args: Any, **kwargs: Any) -> Any:
    return rayhpc.get(node.execute(*args, **kwargs), timeout=60)


# -- functions -----------------------------------------------------------------------------------
def test_each_node_runs_once_in_each_run() -> None:
    counter = Counter.options(num_cpus=0).remote()

    @rayhpc.remote
    def counted(value: Any, counter: Any) -> Any:
        rayhpc.get(counter.add.remote(1))
        return value

    with InputNode() as given:
        first = counted.bind(given, counter)
        second = add.bind(first, double.bind(first))
        graph = add.bind(second, second, first)
    assert run(graph, 2) == 14
    assert run(graph, 3) == 21
    assert rayhpc.get(counter.get.remote()) == 2


def test_nodes_inside_of_arguments_become_references() -> None:
    @rayhpc.remote
    def open_up(found: dict[str, Any], *, more: Any) -> Any:
        values = rayhpc.get([found["x"], *found["y"], more.a])
        return sum(values) + more.b

    graph = open_up.bind(
        {"x": double.bind(1), "y": [double.bind(2)]},
        more=Given(double.bind(3), 100),  # type: ignore[arg-type]
    )
    assert run(graph) == 112


def test_what_is_bound_beside_nodes_stays_what_it_is() -> None:
    array = np.arange(200_000.0)
    ref = rayhpc.put(5)

    @rayhpc.remote
    def look(parts: list[Any], plain: Any) -> Any:
        array, ref, node = parts
        return float(array.sum()), rayhpc.get(ref), rayhpc.get(node), plain

    lock = threading.Lock()
    graph = look.bind([array, ref, double.bind(4)], (1, "x"))
    assert graph.get_args()[1] == (1, "x")
    assert run(graph) == (float(array.sum()), 5, 8, (1, "x"))
    with pytest.raises(TypeError, match="lock"):
        same.bind(lock).execute()


def test_a_deep_graph() -> None:
    node: Any = double.bind(4)
    for _ in range(1500):
        node = same.bind(node)
    assert run(node) == 8


def test_options_go_along() -> None:
    node = add.options(name="of a test", num_cpus=0.5).bind(1)
    assert node.get_options() == {"name": "of a test", "num_cpus": 0.5}
    assert run(node) == 1
    assert add.bind().get_options() == {}
    parts = same.options(num_returns=2).bind((1, 2))
    assert rayhpc.get(parts.execute(), timeout=60) == [1, 2]
    with pytest.raises(ValueError):
        add.options(num_cpus=-1).bind()


def test_an_error_is_the_graphs_result() -> None:
    @rayhpc.remote
    def fail(value: Any) -> None:
        raise KeyError(value)

    with InputNode() as given:
        graph = MultiOutputNode([double.bind(fail.bind(given)), double.bind(given)])
    bad, good = graph.execute("x")
    assert rayhpc.get(good) == "xx"
    with pytest.raises(KeyError):
        rayhpc.get(bad, timeout=60)


# -- the input -----------------------------------------------------------------------------------
def test_parts_of_the_input() -> None:
    with InputNode() as given:
        attributes = add.bind(given.a, given.b)
        keys = add.bind(given["a"], given["b"])
        positions = add.bind(given[0], given[1])
        mixed = add.bind(given[0], given[1], given.c)
    assert run(attributes, Given(1, 2)) == 3
    assert run(attributes, a=1, b=5) == 6
    assert run(keys, {"a": 3, "b": 4}) == 7
    assert run(positions, [5, 6]) == 11
    assert run(positions, 1, 2) == 3
    assert run(mixed, 1, 2, c=4) == 7
    with pytest.raises(AssertionError, match="int index or str"):
        given[(1, 2)]
    with pytest.raises(TypeError, match="not known"):
        _one, _two = given


def test_bad_uses_of_the_input_are_refused() -> None:
    for wrong in ({"args": (1,)}, {"kwargs": {"a": 1}}):
        with pytest.raises(ValueError, match="should not take any args"):
            InputNode(*wrong.get("args", ()), **wrong.get("kwargs", {}))
    with pytest.raises(AssertionError, match="context manager"):
        same.bind(InputNode()).execute(1)
    with InputNode() as one, InputNode() as other:
        both = add.bind(one, other)
        with pytest.raises(ValueError, match="InputNode handles"):
            Counter.bind(one)
    with pytest.raises(AssertionError, match="one unique InputNode"):
        both.execute(1)


# -- actors --------------------------------------------------------------------------------------
def test_an_actor_of_the_graph_is_new_in_each_run_and_keeps_the_order_of_calls() -> None:
    counter = Counter.bind(10)
    counter.add.bind(2)
    counter.add.bind(4)
    graph = add.bind(counter.get.bind(), 100)
    for _ in range(2):
        assert run(graph) == 116


def test_a_node_of_a_class_is_a_handle_where_it_is_an_argument() -> None:
    @rayhpc.remote
    def ask(counter: Any) -> Any:
        assert isinstance(counter, rayhpc.ActorHandle)
        return rayhpc.get(counter.get.remote())

    assert run(ask.bind(Counter.bind(7))) == 7
    handle = Counter.bind(3).execute()
    assert rayhpc.get(handle.get.remote()) == 3


def test_methods_of_living_actors() -> None:
    counter = Counter.remote()
    with InputNode() as given:
        graph = MultiOutputNode([counter.add.bind(given), counter.add.bind(double.bind(given))])
    assert run(graph, 1) == [1, 3]
    assert run(graph, 2) == [5, 9]
    first, second = counter.both.bind(double.bind(4))
    assert run(add.bind(first, second)) == 17
    assert run(counter.get.options(name="of a test").bind()) == 9


def test_what_a_node_was_bound_with() -> None:
    counter = Counter.options(name="first", num_cpus=0).bind(1)
    counter.add.options(name="second").bind(2)
    node = counter.get.bind()
    before = node.get_other_args_to_resolve()
    assert before[PARENT_CLASS_NODE_KEY].get_options()["name"] == "first"
    assert before[PREV_CLASS_METHOD_CALL_KEY].get_options() == {"name": "second"}
    inner = [add.bind() for _ in range(3)]
    outer = add.bind(1, inner[0], inner[0], x=inner[1], y={"deep": inner[2]})
    assert outer.get_args() == (1, inner[0], inner[0])
    assert outer.get_kwargs() == {"x": inner[1], "y": {"deep": inner[2]}}
    assert outer._get_toplevel_child_nodes() == inner[:2]
    assert outer._get_all_child_nodes() == inner
    other = [add.bind() for _ in range(3)]
    swapped = outer._apply_and_replace_all_child_nodes(dict(zip(inner, other, strict=True)).get)
    assert swapped._get_all_child_nodes() == other


def test_what_cannot_be_done_with_a_node() -> None:
    with pytest.raises(ValueError, match="node of a graph"):
        pickle.dumps(same.bind(1))
    with pytest.raises(TypeError, match="node of a graph"):
        same.remote(same.bind(1))
    with pytest.raises(AttributeError, match="cannot be used again"):
        Counter.bind().bind()
    with pytest.raises(AttributeError, match="has no attribute 'remote'"):
        Counter.bind().remote()
    with pytest.raises(AttributeError, match="cannot be used on ClassMethodNodes"):
        Counter.bind().get.remote()
    with pytest.raises(AttributeError, match=r"\.remote\(\) cannot be used on"):
        same.bind(1).remote()
    with pytest.raises(ValueError, match="list of nodes"):
        MultiOutputNode(same.bind(1))


# -- running -------------------------------------------------------------------------------------
def test_references_of_the_last_run() -> None:
    inner = double.bind(1)
    outer = double.bind(inner)
    outer.execute(_ray_cache_refs=True)
    kept = asyncio.run(outer.get_object_refs_from_last_execute())
    assert rayhpc.get(kept[inner.get_stable_uuid()]) == 2
    assert rayhpc.get(kept[outer.get_stable_uuid()]) == 4
    outer.clear_cache()
    assert outer.cache_from_last_execute == {}
    seen: list[DAGNode] = []
    outer.apply_recursive(seen.append)
    assert [repr(x) for x in seen] == ["FunctionNode(double)"] * 2


def test_compiled_it_runs_the_same_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_dag_node, "log_once", lambda key: True)
    monkeypatch.setattr(rayhpc.logger, "handlers", [caplog.handler])
    counter = Counter.remote()
    with InputNode() as given:
        graph = MultiOutputNode([counter.add.bind(given), double.bind(given)])
    compiled = graph.experimental_compile(enable_asyncio=True, _buffer_size_bytes=10)
    assert "without compiling" in caplog.text

    async def later() -> Any:
        refs = await compiled.execute_async(2)
        return await asyncio.gather(*refs)

    assert rayhpc.get(compiled.execute(1), timeout=60) == [1, 2]
    assert asyncio.run(later()) == [3, 4]
    compiled.teardown()
    with pytest.raises(ValueError, match="torn down"):
        compiled.execute(1)


def test_graphs_run_from_many_threads_and_inside_of_tasks() -> None:
    with InputNode() as given:
        graph = add.bind(double.bind(given), given)
    found: dict[int, int] = {}

    def go(value: int) -> None:
        found[value] = run(graph, value)

    threads = [threading.Thread(target=go, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {i: 3 * i for i in range(16)}

    @rayhpc.remote(num_cpus=0)
    def inside(value: int) -> int:
        with InputNode() as given:
            graph = add.bind(double.bind(given), Counter.options(num_cpus=0).bind(1).get.bind())
        return int(rayhpc.get(graph.execute(value)))

    assert rayhpc.get(inside.remote(5), timeout=60) == 11
