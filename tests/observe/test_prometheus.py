"""A cluster's figures in Prometheus's text format, whatever its nodes are called."""

from __future__ import annotations

import re

from msgspec.structs import replace

from rayhpc.observe import prometheus
from rayhpc.util.metrics import text_of
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import ClusterState
from tests.observe.generator import node_state

LINE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [0-9.e+]+')


def state() -> ClusterState:
    odd = node_state(2, 8, gpus=2, name='no"de\\\n2')
    gone = replace(node_state(3, 4), alive=False, ended="lost")
    moved = replace(node_state(1, 4), moved=Moved(3, 300, 2, 200), memory=7, memory_limit=9)
    nodes = [moved, odd, gone]
    demand = [({"CPU": 10_000}, 3, 'no node has "it"\nfree')]
    return ClusterState("c" * 32, 5.0, nodes, {"ALIVE": 2}, {"CREATED": 1}, 1, demand)


def test_every_line_can_be_read_and_each_metric_is_described_once() -> None:
    lines = text_of(prometheus.rows(state())).splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    for line in lines:
        assert line.startswith("# ") or LINE.fullmatch(line), line
    text = "\n".join(lines)
    here = f'cluster="{"c" * 32}"'
    assert f'rayhpc_nodes{{{here},state="alive"}} 2' in text
    assert f'rayhpc_resource{{{here},node="n001",ip="10.0.0.2",resource="CPU"}} 4.0' in text
    assert f'rayhpc_spilled_bytes_total{{{here},node="n001",ip="10.0.0.2"}} 200' in text
    assert f'rayhpc_memory_used_bytes{{{here},node="n001",ip="10.0.0.2"}} 7' in text
    assert 'reason="no node has \\"it\\"\\nfree"} 3' in text
    assert "n003" not in text
