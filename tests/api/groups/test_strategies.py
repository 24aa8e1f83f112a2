"""Scheduling strategies and what placing makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from rayhpc.api.groups import placing
from rayhpc.api.groups.placement_group import PlacementGroup
from rayhpc.api.groups.strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)
from rayhpc.api.tasks.options import FunctionOptions, resources
from rayhpc.runtime.process import current
from rayhpc.runtime.values.ids import NodeID, PlacementGroupID
from rayhpc.wire.feasibility import NODE_ID_LABELS, labels_match
from rayhpc.wire.messages.common import Labels, NodeInfo, Strategy


def _strategy(**given: Any) -> Strategy:
    options = FunctionOptions().merged(**given)
    return placing.scheduling_class(options, resources(options), 1, b"").strategy


def test_words() -> None:
    assert _strategy() == Strategy()
    assert _strategy(scheduling_strategy="DEFAULT") == Strategy()
    assert _strategy(scheduling_strategy="SPREAD").kind == "spread"


def test_node_affinity_takes_text_or_an_id() -> None:
    node = NodeID.from_random()
    by_id = _strategy(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True))
    by_text = _strategy(scheduling_strategy=NodeAffinitySchedulingStrategy(node.hex(), soft=True))
    assert by_id == by_text == Strategy("node", node=node.hex(), soft=True)


def test_labels() -> None:
    strategy = NodeLabelSchedulingStrategy(
        hard={"zone": In("a", "b"), "gpu": Exists()},
        soft={"old": DoesNotExist(), "rack": NotIn("7")},
    )
    made = _strategy(scheduling_strategy=strategy)
    assert made.kind == "labels"
    assert made.hard == [Labels("zone", "in", ["a", "b"]), Labels("gpu", "exists")]
    assert made.wish == [Labels("old", "not_exists"), Labels("rack", "not_in", ["7"])]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hard": {}}, "cannot both be empty: give at least one label"),
        ({"hard": None, "soft": ["zone"]}, "The soft parameter must be a map"),
        ({"hard": {1: Exists()}}, "The map key of the hard parameter must be of type str"),
        ({"hard": {"zone": "a"}}, "must be one of the `In`, `NotIn`, `Exists` or `DoesNotExist`"),
        (
            {"hard": {"zone": In("a", 3)}},  # type: ignore[arg-type]
            "Type of value in position 1 for the In operator must be str",
        ),
        (
            {"soft": {"zone": NotIn()}},
            "The variadic parameter of the NotIn operator must be a non-empty tuple",
        ),
    ],
)
def test_label_strategies_are_checked_in_rays_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NodeLabelSchedulingStrategy(**given)


@pytest.mark.parametrize("name", NODE_ID_LABELS)
def test_a_nodes_id_is_a_label_by_each_of_its_names(name: str) -> None:
    node = NodeInfo(1, "ab" * 28, "", "", [], b"", {}, {}, 0, False, 0, "")
    assert labels_match(node, [Labels(name, "in", [node.node_id])])
    assert not labels_match(node, [Labels(name, "in", ["cd" * 28])])


def test_label_selectors() -> None:
    made = _strategy(label_selector={"zone": "!in(a, b)", "kind": "fast"})
    assert made.hard == [Labels("zone", "not_in", ["a", "b"]), Labels("kind", "in", ["fast"])]


def _group() -> PlacementGroup:
    """One of the cluster there is: another is refused as foreign."""
    group = PlacementGroupID(current.client().new_group_id())
    return PlacementGroup(group, [{"CPU": 1.0}, {"CPU": 2.0}])


def test_a_group_and_no_group(ray: Any) -> None:
    group = _group()
    made = _strategy(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 1))
    assert made == Strategy("group", group=group.id.binary(), bundle=1)
    assert _strategy(scheduling_strategy=PlacementGroupSchedulingStrategy(None)) == Strategy()


def test_what_fits_no_bundle_is_refused_before_the_call(ray: Any) -> None:
    group = _group()
    inside = PlacementGroupSchedulingStrategy(group)
    assert _strategy(num_cpus=2, scheduling_strategy=inside).bundle == -1
    with pytest.raises(ValueError, match="any bundle"):
        _strategy(num_cpus=3, scheduling_strategy=inside)
    first = PlacementGroupSchedulingStrategy(group, 0)
    with pytest.raises(ValueError, match="bundle 0"):
        _strategy(num_cpus=2, scheduling_strategy=first)


def test_amounts_are_exact_in_units() -> None:
    assert placing.fixed_point({"CPU": 0.3, "GPU": 0, "disk": 1}) == {"CPU": 3000, "disk": 10000}
    assert placing.amounts({"CPU": 3000}) == {"CPU": 0.3}
