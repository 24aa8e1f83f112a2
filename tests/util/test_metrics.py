"""Counters, gauges and histograms."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import rayhpc
from rayhpc.util import metrics

pytestmark = pytest.mark.usefixtures("cluster")


def rows(name: str) -> dict[tuple[tuple[str, str], ...], list[float]]:
    return {tuple(x.tags): x.values for x in metrics.snapshot() if x.name == name}


@rayhpc.remote
def count(name: str, times: int) -> None:
    counter = metrics.Counter(name, tag_keys=("who",))
    for _ in range(times):
        counter.inc(tags={"who": "task"})
    metrics.publish()


@rayhpc.remote
class Meter:
    def __init__(self, name: str) -> None:
        self._gauge = metrics.Gauge(name)

    def set(self, value: float) -> None:
        self._gauge.set(value)
        metrics.publish()


def test_counters_of_all_processes_are_added_up() -> None:
    counter = metrics.Counter("test_calls", "calls", tag_keys=("who",))
    counter.inc(2, tags={"who": "task"})
    counter.inc(tags={"who": "driver"})
    rayhpc.get([count.remote("test_calls", 3) for _ in range(2)])
    assert rows("test_calls") == {(("who", "driver"),): [1.0], (("who", "task"),): [8.0]}


def test_gauges_stay_apart_by_process() -> None:
    meters = [Meter.remote("test_depth") for _ in range(2)]
    rayhpc.get([x.set.remote(i) for i, x in enumerate(meters)])
    found = rows("test_depth")
    assert sorted(x[0] for x in found.values()) == [0.0, 1.0]
    assert len({dict(x)["process"] for x in found}) == 2


def test_histograms_count_between_boundaries() -> None:
    histogram = metrics.Histogram("test_seconds", boundaries=[1, 10], tag_keys=())
    for value in (0.5, 1, 5, 50):
        histogram.observe(value)
    assert rows("test_seconds") == {(): [2.0, 1.0, 1.0, 56.5]}
    text = metrics.prometheus_text()
    assert "# TYPE test_seconds histogram" in text
    assert 'test_seconds_bucket{le="1.0"} 2.0' in text
    assert 'test_seconds_bucket{le="+Inf"} 4.0' in text
    assert "test_seconds_sum 56.5" in text


def test_default_tags_and_info() -> None:
    counter = metrics.Counter("test_tagged", "what", tag_keys=("a", "b"))
    assert counter.set_default_tags({"a": "1"}) is counter
    counter.inc(tags={"b": "2"})
    assert rows("test_tagged") == {(("a", "1"), ("b", "2")): [1.0]}
    assert counter.info == {
        "name": "test_tagged",
        "description": "what",
        "tag_keys": ("a", "b"),
        "default_tags": {"a": "1"},
    }
    assert pickle.loads(pickle.dumps(counter)).info == counter.info


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda c: c.inc(0, tags={"a": "1"}), ValueError),
        (lambda c: c.inc("1", tags={"a": "1"}), TypeError),
        (lambda c: c.inc(), ValueError),
        (lambda c: c.inc(tags={"a": "1", "z": "2"}), ValueError),
        (lambda c: c.inc(tags={"a": 1}), TypeError),
        (lambda c: c.set_default_tags({"z": "1"}), ValueError),
        (lambda _: metrics.Counter("not a name"), ValueError),
        (lambda _: metrics.Counter("x", tag_keys="ab"), TypeError),
        (lambda _: metrics.Histogram("x", boundaries=[]), ValueError),
        (lambda _: metrics.Histogram("x", boundaries=[2, 1]), ValueError),
    ],
)
def test_mistakes_are_named(act: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        act(metrics.Counter("test_mistakes", tag_keys=("a",)))
