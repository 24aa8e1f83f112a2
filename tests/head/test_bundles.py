"""Choosing nodes for bundles: whatever is chosen fits, and a fit is not missed."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from rayhpc.head.bundles import Bundle, choose, crowding
from rayhpc.head.ledger import Ledger
from rayhpc.head.nodes import NodeRecord
from rayhpc.wire.feasibility import fits, subtract
from rayhpc.wire.messages.common import Resources

from .fakes import amounts, node_info

STRATEGIES = ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
_totals = st.builds(lambda c, g: amounts(CPU=c, GPU=g), st.integers(0, 4), st.integers(0, 1))
_wanted = st.builds(lambda c, g: amounts(CPU=c, GPU=g), st.integers(0, 2), st.integers(0, 1))


def nodes_of(totals: list[Resources]) -> list[NodeRecord]:
    nodes = []
    for number, total in enumerate(totals, 1):
        info = node_info(f"n{number}", {k: v for k, v in total.items() if v})
        node = NodeRecord(info, Ledger())
        node.number = number
        nodes.append(node)
    return nodes


def allowed(strategy: str, places: tuple[NodeRecord, ...], bundles: list[Bundle]) -> bool:
    """Whether this assignment keeps the strategy's word and fits."""
    distinct = len({node.number for node in places})
    if strategy == "STRICT_PACK" and distinct != 1:
        return False
    if strategy == "STRICT_SPREAD" and distinct != len(places):
        return False
    free = {node.number: dict(node.free) for node in places}
    for node, bundle in zip(places, bundles, strict=True):
        if not fits(free[node.number], bundle.resources):
            return False
        subtract(free[node.number], bundle.resources)
    return True


@settings(max_examples=300, deadline=None)
@given(
    st.lists(_totals, min_size=1, max_size=4),
    st.lists(_wanted, min_size=1, max_size=4),
    st.sampled_from(STRATEGIES),
)
def test_what_is_chosen_fits_and_equal_bundles_are_never_missed(
    totals: list[Resources], wanted: list[Resources], strategy: str
) -> None:
    nodes = nodes_of(totals)
    bundles = [Bundle(i, {k: v for k, v in w.items() if v}) for i, w in enumerate(wanted)]
    chosen = choose(strategy, bundles, nodes, lambda node: node.free)
    if chosen is not None:
        assert sorted(chosen) == list(range(len(bundles)))
        assert allowed(strategy, tuple(chosen[i] for i in range(len(bundles))), bundles)
        return
    same = all(bundle.resources == bundles[0].resources for bundle in bundles)
    if same or strategy == "STRICT_PACK":
        every = itertools.product(nodes, repeat=len(bundles))
        assert not any(allowed(strategy, places, bundles) for places in every)


def test_a_node_that_others_need_is_left_to_them() -> None:
    nodes = nodes_of([amounts(CPU=1, GPU=1), amounts(CPU=1)])
    bundles = [Bundle(0, amounts(CPU=1)), Bundle(1, amounts(CPU=1, GPU=1))]
    for strategy in ("SPREAD", "STRICT_SPREAD", "PACK"):
        chosen = choose(strategy, bundles, nodes, lambda node: node.free)
        assert chosen is not None
        assert [chosen[i].number for i in range(2)] == [2, 1]


def test_bundles_keep_their_order_on_equal_nodes() -> None:
    nodes = nodes_of([amounts(CPU=1)] * 3)
    bundles = [Bundle(i, amounts(CPU=1)) for i in range(3)]
    for strategy in ("SPREAD", "STRICT_SPREAD", "PACK"):
        chosen = choose(strategy, bundles, nodes, lambda node: node.free)
        assert chosen is not None
        assert [chosen[i].number for i in range(3)] == [1, 2, 3]


def test_nodes_in_use_count_for_strict_strategies() -> None:
    nodes = nodes_of([amounts(CPU=4), amounts(CPU=4)])
    one = [Bundle(0, amounts(CPU=1))]
    packed = choose("STRICT_PACK", one, nodes, lambda node: node.free, {2: 1})
    spread = choose("STRICT_SPREAD", one, nodes, lambda node: node.free, {2: 1})
    assert packed is not None
    assert spread is not None
    assert (packed[0].number, spread[0].number) == (2, 1)


def test_spread_counts_the_bundles_that_nodes_have_before_their_room() -> None:
    nodes = nodes_of([amounts(CPU=8), amounts(CPU=2)])
    two = [Bundle(i, amounts(CPU=1)) for i in range(2)]
    chosen = choose("SPREAD", two, nodes, lambda node: node.free, {1: 3, 2: 1})
    assert chosen is not None
    assert [chosen[i].number for i in range(2)] == [2, 2]


def test_crowding_is_least_where_all_have_equally_many() -> None:
    a, b = nodes_of([amounts(CPU=4), amounts(CPU=4)])
    assert crowding({0: a, 1: b}) < crowding({0: a, 1: a})
    assert crowding({0: b}, {a.number: 1}) < crowding({0: a}, {a.number: 1})
    assert crowding({0: a, 1: b, 2: a, 3: b}) < crowding({0: a, 1: b, 2: a, 3: a})
