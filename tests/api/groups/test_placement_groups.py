"""Placement groups: reserving, waiting, capture, tables, removal, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from rayhpc.api.groups.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from rayhpc.api.groups.strategies import PlacementGroupSchedulingStrategy
from tests.api.actors.counter import Counter, wait_for


@pytest.fixture
def group(ray: Any) -> Any:
    made = placement_group([{"CPU": 1}, {"CPU": 2}], name="of the test")
    assert made.wait(20)
    yield made
    remove_placement_group(made)
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


def inside(group: Any, index: int = -1, capture: bool | None = None) -> Any:
    return PlacementGroupSchedulingStrategy(group, index, capture)


@rayhpc.remote
def current() -> str | None:
    found = get_current_placement_group()
    return None if found is None else found.id.hex()


@rayhpc.remote
def child_s_group() -> str | None:
    found: str | None = rayhpc.get(current.remote())
    return found


@rayhpc.remote
def escaping_child_s_group() -> str | None:
    strategy = PlacementGroupSchedulingStrategy(placement_group=None)
    found: str | None = rayhpc.get(current.options(scheduling_strategy=strategy).remote())
    return found


def test_it_is_reserved(ray: Any, group: Any) -> None:
    wait_for(lambda: ray.available_resources().get("CPU") == 1)
    assert group.bundle_count == 2
    assert group.bundle_specs == [{"CPU": 1.0}, {"CPU": 2.0}]
    assert ray.get(group.ready(), timeout=20) == group


def test_tasks_and_actors_run_inside(ray: Any, group: Any) -> None:
    task = current.options(scheduling_strategy=inside(group)).remote()
    assert ray.get(task, timeout=20) == group.id.hex()
    old = current.options(placement_group=group, placement_group_bundle_index=1).remote()
    assert ray.get(old, timeout=20) == group.id.hex()
    counter = Counter.options(num_cpus=2, scheduling_strategy=inside(group, 1)).remote()
    assert ray.get(counter.increase.remote(), timeout=20) == 1
    assert ray.get(current.remote(), timeout=20) is None
    assert get_current_placement_group() is None


def test_children_inherit_it_only_with_capture(ray: Any, group: Any) -> None:
    small = {"num_cpus": 1}
    without = child_s_group.options(scheduling_strategy=inside(group), **small)
    assert ray.get(without.remote(), timeout=20) is None
    capturing = inside(group, capture=True)
    with_it = child_s_group.options(scheduling_strategy=capturing, **small)
    assert ray.get(with_it.remote(), timeout=20) == group.id.hex()
    escaping = escaping_child_s_group.options(scheduling_strategy=capturing, **small)
    assert ray.get(escaping.remote(), timeout=20) is None


def test_an_actor_s_children_inherit_it_with_capture(ray: Any, group: Any) -> None:
    @ray.remote(num_cpus=1)
    class Parent:
        def __init__(self) -> None:
            self.first = rayhpc.get(current.remote())

        def groups(self) -> list[Any]:
            return [self.first, rayhpc.get(current.remote())]

    capturing = Parent.options(scheduling_strategy=inside(group, 0, True)).remote()
    found = ray.get(capturing.groups.remote(), timeout=20)
    assert found == [group.id.hex()] * 2


def test_its_bundles_bound_what_runs(ray: Any, group: Any) -> None:
    @ray.remote(num_cpus=1)
    def span() -> tuple[float, float]:
        start = time.time()
        time.sleep(0.1)
        return start, time.time()

    task = span.options(scheduling_strategy=inside(group, 1))
    spans = ray.get([task.remote() for _ in range(6)], timeout=20)
    assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) <= 2


def test_what_is_refused_before_the_call(ray: Any, group: Any) -> None:
    with pytest.raises(ValueError, match="any bundle"):
        current.options(num_cpus=3, scheduling_strategy=inside(group)).remote()
    with pytest.raises(ValueError, match="bundle 0"):
        Counter.options(num_cpus=2, scheduling_strategy=inside(group, 0)).remote()
    for index in (-2, 2):
        with pytest.raises(ValueError, match="from 0 to 1"):
            current.options(scheduling_strategy=inside(group, index))


def test_the_table(ray: Any, group: Any) -> None:
    row = placement_group_table(group)
    node = ray.nodes()[0]["NodeID"]
    assert row["placement_group_id"] == group.id.hex()
    assert row["name"] == "of the test"
    assert row["strategy"] == "PACK"
    assert row["state"] == "CREATED"
    assert row["bundles"] == {0: {"CPU": 1.0}, 1: {"CPU": 2.0}}
    assert row["bundles_to_node_id"] == {0: node, 1: node}
    assert group.id.hex() in placement_group_table()


def test_found_by_name(ray: Any, group: Any) -> None:
    assert get_placement_group("of the test") == group
    assert get_placement_group("of the test").bundle_specs == group.bundle_specs
    with pytest.raises(ValueError, match="nobody's"):
        get_placement_group("nobody's")


def test_one_that_does_not_fit_yet_is_pending(ray: Any, group: Any) -> None:
    waiting = placement_group([{"CPU": 4}])
    assert waiting.wait(0.1) is False
    assert placement_group_table(waiting)["state"] == "PENDING"
    ready = waiting.ready()
    assert ray.wait([ready], timeout=0)[0] == []
    remove_placement_group(waiting)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved):
        ray.get(ready, timeout=20)
    assert waiting.wait(20) is False
    assert placement_group_table(waiting)["state"] == "REMOVED"


def test_a_pending_one_comes_when_room_is_made(ray: Any) -> None:
    first = placement_group([{"CPU": 3}])
    assert first.wait(20)
    second = placement_group([{"CPU": 3}])
    ready = second.ready()
    assert ray.wait([ready], timeout=0.1)[0] == []
    remove_placement_group(first)
    assert ray.get(ready, timeout=20) == second
    remove_placement_group(second)


def test_removal_ends_actors_and_refuses_queued_tasks(ray: Any) -> None:
    group = placement_group([{"CPU": 1}])
    assert group.wait(20)
    counter = Counter.options(num_cpus=1, scheduling_strategy=inside(group)).remote()
    assert ray.get(counter.increase.remote(), timeout=20) == 1
    queued = current.options(scheduling_strategy=inside(group)).remote()
    assert ray.wait([queued], timeout=0.1)[0] == []
    remove_placement_group(group)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved):
        ray.get(queued, timeout=20)
    with pytest.raises(exceptions.RayActorError):
        ray.get(counter.increase.remote(), timeout=20)


def test_waiting_for_a_task_in_it_that_comes_late(ray: Any) -> None:
    full = placement_group([{"CPU": 4}])
    assert full.wait(20)
    group = placement_group([{"CPU": 1}])
    ref = current.options(scheduling_strategy=inside(group)).remote()
    assert ray.wait([ref], timeout=0.1)[0] == []
    remove_placement_group(full)
    assert ray.get(ref, timeout=20) == group.id.hex()
    remove_placement_group(group)


def test_a_group_travels(ray: Any, group: Any) -> None:
    @ray.remote
    def look(given: PlacementGroup) -> tuple[bool, int]:
        return given.wait(60), given.bundle_count

    assert ray.get(look.remote(group), timeout=20) == (True, 2)


@pytest.mark.parametrize(
    ("bundles", "kind", "words"),
    [
        ([], ValueError, "empty list"),
        ([{}], ValueError, "0 values"),
        ([{"CPU": 0}], ValueError, "0 values"),
        ([{"CPU": 1}, {"CPU": -1}], ValueError, "negative"),
        ([{"CPU": "x"}], TypeError, "a number"),
        ([{"GPU": 1.5}], ValueError, "whole number"),
        ({"CPU": 1}, TypeError, "list of dicts"),
        (["CPU"], TypeError, "Bundle 0"),
        ([{3: 1}], TypeError, "text"),
        ([{"bundle": 1}], ValueError, "count their bundles by"),
    ],
)
def test_bundles_are_checked(bundles: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        placement_group(bundles)


def test_strategy_and_lifetime_are_checked() -> None:
    with pytest.raises(ValueError, match="Invalid placement group strategy 'NEAR'.*STRICT_SPREAD"):
        placement_group([{"CPU": 1}], strategy="NEAR")
    with pytest.raises(ValueError, match="detached"):
        placement_group([{"CPU": 1}], lifetime="forever")
    with pytest.raises(ValueError, match="one dict per bundle"):
        placement_group([{"CPU": 1}, {"CPU": 1}], bundle_label_selector=[{}, {}, {}])
    with pytest.raises(TypeError, match="Not a placement group"):
        remove_placement_group("group")  # type: ignore[arg-type]
