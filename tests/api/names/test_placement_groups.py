"""Placement groups over two nodes."""

from __future__ import annotations

from typing import Any

import pytest

import rayhpc as ray
from rayhpc import exceptions
from rayhpc.util import (
    get_current_placement_group,
    get_placement_group,
    placement_group_table,
    remove_placement_group,
)
from rayhpc.util.placement_group import PlacementGroup, placement_group
from rayhpc.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.api.actors.counter import wait_for
from tests.api.names.naming import FAR, Tally, Two, covers, get, here, until_idle, where

ONE_EACH = [{"CPU": 1, "near": 0.001}, {"CPU": 1, "far": 0.001}]


def inside(group: PlacementGroup, index: int = -1, capture: bool | None = None) -> Any:
    return PlacementGroupSchedulingStrategy(group, index, capture)


def remove(*groups: PlacementGroup) -> None:
    """Remove them, and wait until the next test has all CPUs."""
    for group in groups:
        remove_placement_group(group)
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


@pytest.mark.parametrize(
    ("strategy", "bundles", "count"),
    [
        ("PACK", [1, 1], 1),
        ("PACK", [2, 1], 2),
        ("STRICT_PACK", [1, 1], 1),
        ("SPREAD", [1, 1], 2),
        ("STRICT_SPREAD", [1, 1], 2),
    ],
)
@covers(
    "util.placement_group: PACK",
    "util.placement_group: SPREAD",
    "util.placement_group: STRICT_PACK",
    "util.placement_group: STRICT_SPREAD",
    "util.placement_group: wait",
    "util.placement_group: bundle index",
    "util.placement_group_table",
)
def test_strategies(two: Two, strategy: str, bundles: list[float], count: int) -> None:
    until_idle()
    group = placement_group([{"CPU": x} for x in bundles], strategy=strategy)
    assert group.wait(30)
    by_bundle = placement_group_table(group)["bundles_to_node_id"]
    assert len(set(by_bundle.values())) == count
    assert set(by_bundle.values()) <= two.both
    for index, node in by_bundle.items():
        strategy_inside = inside(group, index)
        assert get(where.options(scheduling_strategy=strategy_inside).remote()) == node
        actor = Tally.options(num_cpus=1, scheduling_strategy=strategy_inside).remote()
        assert get(actor.node.remote()) == node
    remove(group)


@covers("util.placement_group: STRICT_SPREAD", "util.placement_group: STRICT_PACK")
def test_what_two_nodes_cannot_hold(two: Two) -> None:
    apart = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
    together = placement_group([{"CPU": 1}] * 3, strategy="STRICT_PACK")
    assert (apart.wait(0.1), together.wait(0.1)) == (False, False)
    remove(apart, together)


@covers("util.placement_group: ready", "util.get_placement_group")
def test_ready(two: Two) -> None:
    group = placement_group(ONE_EACH, name="pair")
    assert get(group.ready()) == group

    @ray.remote(num_cpus=0, **FAR)
    def found() -> tuple[Any, str]:
        same = get_placement_group("pair")
        return ray.get(same.ready(), timeout=20), here()

    assert get(found.remote()) == (group, two.far)
    remove(group)


@covers("util.placement_group: capture of child tasks", "util.get_current_placement_group")
def test_capture(two: Two) -> None:
    @ray.remote
    def current() -> tuple[str | None, str]:
        group = get_current_placement_group()
        return group and group.id.hex(), here()

    @ray.remote(num_cpus=1)
    def parent() -> list[Any]:
        return [ray.get(current.remote()), here()]

    group = placement_group(ONE_EACH)
    name = group.id.hex()
    captured = get(parent.options(scheduling_strategy=inside(group, 1, True)).remote())
    assert (captured[0][0], captured[1]) == (name, two.far)
    free = get(parent.options(scheduling_strategy=inside(group, 1)).remote())
    assert (free[0][0], free[1]) == (None, two.far)
    remove(group)


@covers("util.remove_placement_group", "exceptions.TaskPlacementGroupRemoved")
def test_removal(two: Two) -> None:
    group = placement_group(ONE_EACH)
    options = {"num_cpus": 1, "scheduling_strategy": inside(group, 1)}
    actor = Tally.options(**options).remote()
    assert get(actor.node.remote()) == two.far
    queued = where.options(**options).remote()
    assert ray.wait([queued], timeout=0.05)[0] == []
    remove(group)
    with pytest.raises(exceptions.TaskPlacementGroupRemoved):
        get(queued)
    with pytest.raises(exceptions.RayActorError):
        get(actor.node.remote())
    assert placement_group_table(group)["state"] == "REMOVED"
