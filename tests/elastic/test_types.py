"""Node types that contradict themselves are refused with the type's name."""

from __future__ import annotations

import re

import pytest

from rayhpc.elastic.types import NodeType, check_types


def test_types_that_make_sense_pass() -> None:
    check_types([NodeType("cpu", min_nodes=0, max_nodes=0), NodeType("gpu.a100", max_nodes=4)])


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([NodeType("a", min_nodes=5, max_nodes=2)], "a: at least 5 nodes and at most 2"),
        ([NodeType("a", min_nodes=-1)], "a: at least -1"),
        ([NodeType("a"), NodeType("a")], "two node types called 'a'"),
        ([NodeType("a b")], "'a b' is not a node type's name"),
        ([NodeType("")], "'' is not a node type's name"),
    ],
)
def test_types_that_do_not_are_named(types: list[NodeType], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_types(types)
