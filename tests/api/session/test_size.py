"""`request_resources` in a cluster that grows: what a program leaves for the planner to read."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from rayhpc.api.session.size import want_resources
from rayhpc.runtime.process import current
from rayhpc.wire.messages.cluster import KvDelete, KvGet, KvPut, Load
from rayhpc.wire.messages.common import UNIT
from rayhpc.wire.messages.elastic import ELASTIC_SPACE, FLOOR_KEY, STATUS_KEY
from rayhpc.wire.messages.load import ClusterLoad


def ask(question: Any, kind: Any) -> Any:
    return current.client().ask_head(question, kind)


@pytest.mark.usefixtures("ray")
def test_a_floor_is_left_only_where_somebody_reads_it() -> None:
    assert not want_resources(3.0, [])
    assert ask(KvGet(ELASTIC_SPACE, FLOOR_KEY), bytes | None) is None
    ask(KvPut(ELASTIC_SPACE, STATUS_KEY, b"{}"), bool)
    try:
        assert want_resources(2.0, [{"GPU": 0.5}])
        found = msgspec.json.decode(ask(KvGet(ELASTIC_SPACE, FLOOR_KEY), bytes))
        assert found == [{"CPU": UNIT}, {"CPU": UNIT}, {"GPU": UNIT // 2}]
    finally:
        ask(KvDelete(ELASTIC_SPACE, b"", prefix=True), int)


@pytest.mark.usefixtures("ray")
def test_the_head_tells_what_its_nodes_are_in_use_for() -> None:
    deadline = time.monotonic() + 60
    busy = ""
    while "1 program" not in busy and time.monotonic() < deadline:
        (node,) = ask(Load(), ClusterLoad).nodes
        busy = node.use.busy
    assert "1 program" in busy
    assert not node.draining
