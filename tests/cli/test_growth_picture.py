"""A cluster's growth as a picture and as a trace."""

from __future__ import annotations

from xml.etree import ElementTree

from rayhpc.cli import growth_picture
from rayhpc.wire.messages.elastic import Moment

MOMENTS = [Moment(100.0, 1, 0, 200), Moment(102.0, 1, 2, 180), Moment(110.0, 3, 0, 0)]


def test_the_picture_shows_nodes_and_what_waits_until_the_end() -> None:
    root = ElementTree.fromstring(growth_picture.svg(MOMENTS, 160.0))
    shown = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert {"nodes", "tasks that wait", "3", "200", "60 s"} <= set(shown)
    curves = [x.get("d", "") for x in root.iter() if x.tag.endswith("path") and x.get("fill")]
    assert len(curves) == 3
    # A step for each moment, then to the right edge.
    assert all(each.count("H") == len(MOMENTS) + 1 for each in curves)


def test_the_trace_has_two_counters_for_each_moment() -> None:
    events = growth_picture.trace(MOMENTS)
    assert len(events) == 6
    assert events[2] == {
        "name": "nodes",
        "ph": "C",
        "ts": 102.0e6,
        "pid": "cluster",
        "args": {"up": 1, "coming": 2},
    }
