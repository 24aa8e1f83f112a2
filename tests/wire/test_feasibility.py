"""Whether a demand fits, and the words when it does not."""

from __future__ import annotations

import pytest

from rayhpc.wire import feasibility
from rayhpc.wire.messages.common import UNIT, Labels, NodeInfo, Strategy


def node(name: str, cpus: float, **labels: str) -> NodeInfo:
    total = {"CPU": round(cpus * UNIT)}
    return NodeInfo(0, name, "10.0.0.1", name, [], b"", total, labels, 0, False, 1, "")


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        (Labels("zone", "in", ["a", "b"]), True),
        (Labels("zone", "in", ["b"]), False),
        (Labels("zone", "not_in", ["b"]), True),
        (Labels("zone", "not_in", ["a"]), False),
        (Labels("other", "not_in", ["a"]), True),
        (Labels("other", "in", ["a"]), False),
        (Labels("zone", "exists"), True),
        (Labels("other", "exists"), False),
        (Labels("other", "not_exists"), True),
        (Labels("zone", "not_exists"), False),
        (Labels("ray.io/node-id", "in", ["n"]), True),
        (Labels("rayhpc/node-id", "not_in", ["n"]), False),
    ],
)
def test_labels(condition: Labels, matches: bool) -> None:
    assert feasibility.labels_match(node("n", 1, zone="a"), [condition]) is matches


@pytest.mark.parametrize(
    ("text", "op", "values"),
    [
        ("a", "in", ["a"]),
        ("!a", "not_in", ["a"]),
        ("in(a, b)", "in", ["a", "b"]),
        ("!in(a,b)", "not_in", ["a", "b"]),
    ],
)
def test_selectors(text: str, op: str, values: list[str]) -> None:
    assert feasibility.conditions_of([("zone", text)]) == [Labels("zone", op, values)]


def test_demands_in_words() -> None:
    wanted = {"GPU": UNIT // 2, "CPU": 4 * UNIT, "memory": 2 * 2**30 * UNIT, "zero": 0}
    assert feasibility.in_words(wanted) == "0.5 GPU, 4 CPU, 2 GiB memory"
    assert feasibility.in_words({"CPU": 0}) == "nothing"


def test_why_nothing_fits_names_the_node_that_comes_closest() -> None:
    nodes = [node("small", 2), node("large", 8)]
    assert feasibility.explain(nodes, {"CPU": 8 * UNIT}, Strategy()) == ""
    text = feasibility.explain(nodes, {"CPU": 16 * UNIT}, Strategy())
    assert text.startswith("16 CPU fits no node")
    assert "(large) has 8 CPU" in text
    assert "0 GPU" in feasibility.explain(nodes, {"GPU": UNIT}, Strategy())


def test_why_labels_and_affinity_allow_no_node() -> None:
    nodes = [node("n", 2, zone="a")]
    labels = Strategy("labels", hard=[Labels("zone", "in", ["b"])])
    assert "zone in (b)" in feasibility.explain(nodes, {}, labels)
    assert "no node nowhere" in feasibility.explain(nodes, {}, Strategy("node", "nowhere"))
    assert feasibility.explain(nodes, {}, Strategy("node", "nowhere", soft=True)) == ""
