"""The smaller tools."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

import rayhpc
from rayhpc import util
from rayhpc.util import annotations, debug, placement_group
from rayhpc.util.check_serialize import FailureTuple

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
def square(x: int) -> int:
    return x * x


@rayhpc.remote
def fail() -> None:
    raise KeyError("no")


class Locked:
    """Cannot be pickled as it is."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()


# -- references ----------------------------------------------------------------------------------
def test_as_completed_gives_every_result() -> None:
    refs = [square.remote(x) for x in range(25)]
    assert sorted(util.as_completed(refs)) == [x * x for x in range(25)]
    assert set(util.as_completed(refs, yield_obj_refs=True)) == set(refs)
    with pytest.raises(KeyError):
        list(util.as_completed([fail.remote()]))
    with pytest.raises(ValueError):
        list(util.as_completed(refs, chunk_size=0))


def test_map_unordered_takes_items_only_as_fast_as_results_are_taken() -> None:
    taken = []

    def items() -> Any:
        for x in range(100):
            taken.append(x)
            yield x

    results = util.map_unordered(square, items(), backpressure_size=5)
    first = next(results)
    assert len(taken) <= 7
    assert sorted([first, *results]) == [x * x for x in range(100)]


def test_named_actors_are_listed_by_namespace() -> None:
    @rayhpc.remote
    class Named:
        def ready(self) -> None:
            """It is."""

    here = Named.options(name="one").remote()
    there = Named.options(name="two", namespace="elsewhere").remote()
    rayhpc.get([here.ready.remote(), there.ready.remote()])
    assert util.list_named_actors() == ["one"]
    everywhere = util.list_named_actors(all_namespaces=True)
    assert {"name": "two", "namespace": "elsewhere"} in everywhere
    assert len(everywhere) == 2


def test_a_nodes_address_is_the_clusters() -> None:
    assert util.get_node_ip_address() == rayhpc.nodes()[0]["NodeManagerAddress"]
    there = rayhpc.get(rayhpc.remote(util.get_node_ip_address).remote())
    assert there == util.get_node_ip_address()
    assert util.get_node_instance_id() == ""


# -- placement groups ----------------------------------------------------------------------------
def test_placement_group_is_a_module_and_a_function() -> None:
    import rayhpc.util.placement_group as module

    assert module is placement_group is util.placement_group
    group = placement_group([{"CPU": 1}], strategy="STRICT_PACK", name="both")
    assert isinstance(group, module.PlacementGroup)
    assert rayhpc.get(group.ready(), timeout=60) == group
    assert util.get_placement_group("both") == group
    assert util.placement_group_table(group)["state"] == "CREATED"
    assert util.get_current_placement_group() is None
    util.remove_placement_group(group)


# -- serialization -------------------------------------------------------------------------------
def test_a_registered_serializer_is_used_on_the_way_there_and_back() -> None:
    util.register_serializer(Locked, serializer=lambda x: x.number, deserializer=Locked)
    try:
        found = rayhpc.get(rayhpc.put([Locked(7)]))
        assert found[0].number == 7

        def look(locked: Locked) -> int:
            with locked.lock:
                return locked.number + 1

        assert rayhpc.get(rayhpc.remote(look).remote(Locked(1))) == 2
    finally:
        util.deregister_serializer(Locked)
    with pytest.raises(TypeError, match="lock"):
        rayhpc.put(Locked(7))
    util.deregister_serializer(Locked)
    with pytest.raises(TypeError):
        util.register_serializer("Locked", serializer=str, deserializer=str)  # type: ignore[arg-type]


def test_inspect_serializability_names_the_culprit(capsys: pytest.CaptureFixture[str]) -> None:
    lock = threading.Lock()

    def uses_it() -> None:
        with lock:
            pass

    good, failures = util.inspect_serializability(uses_it, name="uses_it")
    assert not good
    (failure,) = failures
    assert isinstance(failure, FailureTuple)
    assert failure.obj is lock
    assert "lock" in failure.name
    assert failure.parent is uses_it
    assert "lock" in capsys.readouterr().out
    assert util.inspect_serializability([1, 2]) == (True, set())


# -- annotations and logs ------------------------------------------------------------------------
def test_annotations_leave_what_they_mark_usable() -> None:
    @util.PublicAPI
    def plain(x: int) -> int:
        """Doc."""
        return x + 1

    @util.PublicAPI(stability="alpha")
    class Early:
        """Doc."""

    @util.DeveloperAPI
    def inner() -> None:
        """Doc."""

    assert plain(1) == 2
    assert plain._annotated_type == annotations.AnnotationType.PUBLIC_API
    assert plain.__doc__ == "Doc."
    assert "alpha" in (Early.__doc__ or "")
    assert "DeveloperAPI" in (inner.__doc__ or "")
    with pytest.raises(ValueError):
        util.PublicAPI(stability="perhaps")


def test_deprecated_warns_when_told_to() -> None:
    @util.Deprecated(message="Use new().", warning=True)
    def old() -> int:
        return 1

    @util.Deprecated(warning=True)
    class Old:
        pass

    @util.Deprecated
    def quiet() -> int:
        return 2

    with pytest.warns(annotations.RayDeprecationWarning, match="new"):
        assert old() == 1
    with pytest.warns(annotations.RayDeprecationWarning):
        Old()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quiet() == 2


def test_log_once() -> None:
    assert util.log_once("test-key")
    assert not util.log_once("test-key")
    debug.reset_log_once("test-key")
    assert util.log_once("test-key")


def test_a_missing_tool_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        util.nonsense  # noqa: B018
    with pytest.raises(rayhpc.exceptions.NotServedError):
        util.connect("localhost:10001")
    assert "ActorPool" in dir(util)
