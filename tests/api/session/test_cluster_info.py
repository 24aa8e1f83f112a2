"""What the cluster has, and what it has run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import rayhpc
from tests.api.actors.counter import Counter


def test_nodes(ray: Any) -> None:
    rows = ray.nodes()
    assert len(rows) == 1
    row = rows[0]
    assert row["Alive"] is True
    assert row["NodeManagerAddress"] == rayhpc.services.get_node_ip_address()
    assert row["Resources"]["CPU"] == 4.0
    assert row["Resources"]["disk"] == 2.0
    assert isinstance(row["Labels"], dict)
    assert len(bytes.fromhex(row["NodeID"])) == ray.NodeID.size()


def test_resources(ray: Any) -> None:
    total = ray.cluster_resources()
    assert (total["CPU"], total["GPU"], total["disk"]) == (4.0, 2.0, 2.0)
    assert total["memory"] > 0
    assert total["object_store_memory"] > 0

    @ray.remote(num_cpus=3, resources={"disk": 2})
    def look() -> dict[str, float]:
        deadline = time.monotonic() + 60
        while rayhpc.available_resources().get("CPU") != 1.0:
            assert time.monotonic() < deadline
        return rayhpc.available_resources()

    free = ray.get(look.remote(), timeout=30)
    assert free["CPU"] == 1.0
    assert "disk" not in free


def test_the_timeline_has_every_task(ray: Any, tmp_path: Path) -> None:
    @ray.remote
    def named_for_the_timeline(x: int) -> int:
        time.sleep(0.01)
        return x

    refs = [named_for_the_timeline.remote(i) for i in range(6)]
    counter = Counter.remote()
    ray.get([*refs, counter.increase.remote()], timeout=20)
    events = ray.timeline()
    mine = [x for x in events if "named_for_the_timeline" in x["name"]]
    assert {x["args"]["task_id"] for x in mine} == {x.task_id().hex() for x in refs}
    for event in mine:
        assert event["ph"] == "X"
        assert event["dur"] >= 0.01 * 1e6
        assert abs(event["ts"] / 1e6 - time.time()) < 60
    assert any(x["name"] == "Counter.increase" for x in events)
    path = tmp_path / "trace.json"
    assert ray.timeline(str(path)) is None
    assert len(json.loads(path.read_text())) >= len(events)


def test_the_address_of_the_node(ray: Any) -> None:
    @ray.remote
    def address() -> str:
        return rayhpc.services.get_node_ip_address()

    assert ray.get(address.remote(), timeout=20) == ray.nodes()[0]["NodeManagerAddress"]
