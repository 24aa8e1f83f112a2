"""The live views of a look."""

from __future__ import annotations

from msgspec.structs import replace

from rayhpc.observe.live.now import now
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.common import UNIT
from rayhpc.wire.messages.listings import ClusterState
from tests.observe.generator import BEGIN, Made
from tests.observe.live.looks import actor_row, look_of


def test_nodes_functions_actors_and_what_is_pending() -> None:
    made = Made(nodes=3, cpus=4)
    for i in range(10):
        made.run("f", i * 1.0, 1.0)
    made.run("A.m", 0.0, 5.0, actor=b"a" * 16)
    busy = replace(made.nodes[0], available={"CPU": UNIT}, workers=3, moved=Moved(2, 2_000))
    gone = replace(made.nodes[2], alive=False, ended="it was killed")
    made.nodes = [busy, made.nodes[1], gone]
    actor = actor_row(b"a" * 16, "A", name="one", node_id=busy.info.node_id)
    demand = [({"CPU": 8 * UNIT, "node:n1": 1}, 3, "no node has 8 CPU free")]
    state = ClusterState("c" * 32, BEGIN, made.nodes, {}, {}, 1, demand)
    found = now(look_of(made, [actor], state=state, time_limit=BEGIN + 100))
    x = found.cluster
    assert (x.nodes, x.nodes_gone, x.cpus, x.cpus_used, x.waiting) == (2, 1, 8.0, 3.0, 3)
    assert (x.runs, x.rate, x.time_left) == (11, 5.5, 90.0)
    assert [(n.name, n.state, n.cpus_used, n.pulled) for n in found.nodes] == [
        ("n000", "alive", 3.0, 2_000),
        ("n001", "alive", 0.0, 0),
        ("n002", "gone", 0.0, 0),
    ]
    assert [(f.name, f.count) for f in found.functions] == [("f", 10), ("A.m", 1)]
    (row,) = found.actors
    assert (row.class_name, row.node, row.calls, row.busy) == ("A", "n000", 1, 0.5)
    (waiting,) = found.pending
    assert (waiting.wants, waiting.count) == ({"CPU": 8.0}, 3)
    assert found.programs[0].command == "python train.py"


def test_living_actors_come_before_those_that_have_ended() -> None:
    states = ["DEAD", "DEAD", "ALIVE", "ALIVE"]
    rows = [actor_row(bytes([i]) * 16, "A", state=state) for i, state in enumerate(states)]
    found = now(look_of(Made(), rows))
    assert [x.state for x in found.actors] == ["ALIVE", "ALIVE", "DEAD", "DEAD"]
