"""What is said of a machine at each stage of its life, and that going is taken back in time."""

from __future__ import annotations

from dataclasses import replace

from rayhpc.elastic.book import State
from rayhpc.elastic.plan import plan
from rayhpc.elastic.types import (
    Demand,
    Machine,
    MachineState,
    NodeType,
    NodeView,
    Plan,
    Seen,
    Wanted,
)
from rayhpc.wire.messages.common import UNIT

CPU = {"CPU": UNIT}
WORKER = NodeType("worker", CPU, max_nodes=1, idle_seconds=60.0)
NODE = NodeView("n", CPU, CPU, "worker-1", "worker", idle_seconds=12.0)


class Story:
    """One planner; each `turn` is ten seconds later."""

    def __init__(self, kind: NodeType = WORKER) -> None:
        self.kind, self.now, self.state = kind, 1000.0, State(adopted=True)

    def turn(
        self, waiting: int, node: NodeView | None = None, machine: Machine | None = None
    ) -> Plan:
        self.now += 10.0
        nodes = [] if node is None else [node]
        machines = None if machine is None else [machine]
        wanted = Wanted((Demand(CPU, waiting),) if waiting else ())
        found, self.state = plan(Seen(wanted, nodes, machines), [self.kind], self.now, self.state)
        return found


def said(found: Plan) -> list[str]:
    """As `rayhpc status` has them."""
    return [x.text + (f" ({x.detail})" if x.detail else "") for x in found.explanation]


def at_place(state: MachineState, reason: str = "") -> Machine:
    return Machine("worker-1", "worker", state, reason=reason)


def test_every_stage_has_a_sentence_and_so_has_why_nothing_more_is_asked_for() -> None:
    story = Story()
    story.turn(3)
    no_more = "nothing more is asked for: worker has all of its 1 nodes, or they are on their way"
    assert said(story.turn(3)) == [
        "asked for worker-1: 3 tasks that need 1 CPU each find no room",
        f"{no_more} (2 tasks that need 1 CPU each)",
        "worker-1 asked for, not answered yet (for 0 s)",
    ]
    pending = at_place(MachineState.PENDING, "Priority: others come first")
    story.turn(1, None, pending)
    assert said(story.turn(1, None, pending)) == [
        "worker-1 pending: Priority: others come first (for 10 s)"
    ]
    story.turn(1, None, at_place(MachineState.RUNNING))
    (starting,) = said(story.turn(1, None, at_place(MachineState.RUNNING)))
    assert starting.startswith("worker-1 starting")
    assert said(story.turn(0, NODE)) == ["worker-1 is idle (since 12 s; given back after 60 s)"]
    assert said(story.turn(0, replace(NODE, idle_seconds=60.0)))[0].startswith(
        "giving back worker-1: "
    )
    left = replace(NODE, idle_seconds=70.0, draining=True, keeps="1 uncopied object")
    (draining,) = said(story.turn(0, left))
    assert draining == "worker-1 draining, takes no new work (for 10 s)"
    assert story.turn(0, replace(left, keeps="")).releases == ("worker-1",)
    (going,) = said(story.turn(0, replace(left, keeps="")))
    assert going.startswith("worker-1 being given back")


def test_the_least_are_kept_and_that_is_said() -> None:
    story = Story(replace(WORKER, min_nodes=1))
    found = story.turn(0, replace(NODE, idle_seconds=900.0))
    assert found.drains == ()
    assert said(found) == ["worker-1 is idle (since 900 s; kept as one of the least)"]


def test_a_node_that_drains_is_taken_back_for_work_instead_of_another() -> None:
    story = Story(replace(WORKER, max_nodes=4))
    assert story.turn(0, replace(NODE, idle_seconds=60.0)).drains == ("worker-1",)
    draining = replace(NODE, draining=True, keeps="1 uncopied object")
    assert story.turn(0, draining).releases == ()
    found = story.turn(1, draining)
    assert (found.undrains, found.asks, found.releases) == (("worker-1",), (), ())
    # So is one that turns out to be busy.
    story.turn(0, replace(NODE, idle_seconds=60.0))
    assert story.turn(0, replace(draining, busy="1 lease", keeps="")).undrains == ("worker-1",)
