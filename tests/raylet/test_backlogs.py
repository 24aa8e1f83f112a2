"""What a node's processes report of their waiting tasks: summed over owners, gone with them."""

from __future__ import annotations

from rayhpc.raylet.backlogs import Backlogs
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import leases
from rayhpc.wire.messages.common import SchedulingClass, Strategy
from tests.raylet.doubles import DRIVER, NODE, units, wanted

WORKER, STRANGER = make_address(NODE, 5), make_address(NODE, 6)


def backlogs() -> Backlogs:
    return Backlogs({DRIVER, WORKER}.__contains__)


def backlog(count: int, what: SchedulingClass | None = None, reason: str = "") -> leases.Backlog:
    return leases.Backlog([leases.ClassBacklog(what or wanted(), count, reason)])


def test_the_last_word_of_each_owner_counts() -> None:
    found = backlogs()
    found.on_backlog(DRIVER, backlog(5))
    found.on_backlog(DRIVER, backlog(3))
    found.on_backlog(WORKER, backlog(4))
    ((resources, count, reason, strategy),) = found.demand()
    assert (resources, count) == (units(CPU=1), 7)
    assert reason == "all nodes that could serve it are in use"
    assert strategy == wanted().strategy
    found.on_backlog(DRIVER, backlog(0))
    assert [x[1] for x in found.demand()] == [4]


def test_classes_of_one_demand_are_one_entry() -> None:
    found = backlogs()
    found.on_backlog(DRIVER, backlog(1, wanted(number=1)))
    found.on_backlog(DRIVER, backlog(2, wanted(number=2)))
    found.on_backlog(DRIVER, backlog(4, wanted(CPU=2)))
    found.on_backlog(DRIVER, backlog(8, wanted(Strategy("group", group=b"g")), ""))
    found.on_backlog(WORKER, backlog(16, wanted(GPU=1), "no node has a GPU"))
    words = "all nodes that could serve it are in use"
    assert [(x[0], x[1], x[2]) for x in found.demand()] == [
        (units(CPU=1), 3, words),
        (units(CPU=2), 4, words),
        (units(CPU=1), 8, "waits for its placement group"),
        (units(GPU=1), 16, "no node has a GPU"),
    ]


def test_an_owner_takes_its_tasks_with_it() -> None:
    found = backlogs()
    found.on_backlog(DRIVER, backlog(5))
    found.on_backlog(WORKER, backlog(4))
    before = found.version
    found.on_process_gone(WORKER)
    assert found.version != before
    assert [x[1] for x in found.demand()] == [5]
    found.on_backlog(STRANGER, backlog(9))
    assert [x[1] for x in found.demand()] == [5], "it has ended before its report came"
