"""Where requests for leases go when several nodes could serve them, or none."""

from __future__ import annotations

import msgspec

from rayhpc.raylet.leases import NEAR_WITHIN_S
from rayhpc.raylet.view import DEBIT_S
from rayhpc.wire.address import make_address
from rayhpc.wire.messages import leases
from rayhpc.wire.messages.common import Labels, Strategy
from tests.raylet.doubles import Node, job, node_info, wanted


def node(**more: float) -> Node:
    made = Node(**more)
    made.jobs.add(job())
    return made


def test_spread_takes_turns_whatever_else_is_asked_for() -> None:
    """Its turns are its own: with every other request a default one, it would stay on one node."""
    n = node(CPU=8)
    n.view.add(node_info(2, CPU=8))
    spread = wanted(Strategy("spread"))
    for number in range(0, 8, 2):
        n.request(number, spread)
        n.request(number + 1)
    assert [m.request for m in n.take(leases.LeaseRedirect)] == [2, 6]


def test_what_waits_goes_to_a_node_that_was_sent_something_that_never_came() -> None:
    n = node(CPU=1)
    n.view.add(node_info(2, CPU=1))
    n.request(1)
    n.boot()
    n.request(2)
    assert [m.request for m in n.take(leases.LeaseRedirect)] == [2]
    n.request(3)
    assert n.take(leases.LeaseRedirect) == []
    while not n.take(leases.LeaseRedirect):
        deadline = n.leases.deadline()
        assert deadline is not None
        n.time = deadline
        n.leases.on_time()
    assert n.time == 100.0 + DEBIT_S


def test_labels_that_nobody_has_are_waited_for_although_there_is_room() -> None:
    n = node(CPU=2)
    on_ssd = wanted(Strategy("labels", hard=[Labels("disk", "in", ["ssd"])]))
    n.request(1, on_ssd)
    n.boot()
    n.settle()
    assert n.granted() == []
    n.pass_time(0.6)
    assert "disk in (ssd)" in n.take(leases.LeaseQueued)[-1].text
    # One that has them is where it waits, too.
    n.join(2, {"disk": "ssd"}, CPU=1)
    n.report(2, 1, CPU=0)
    assert [(m.request, m.node) for m in n.take(leases.LeaseRedirect)] == [(1, 2)]
    too_large = wanted(Strategy("labels", hard=[Labels("disk", "in", ["ssd"])]), CPU=2)
    n.request(2, too_large)
    n.settle()
    assert n.granted() == []
    assert n.leases.waiting() == 1


def test_a_request_waits_where_its_data_is_for_a_moment_then_goes_anywhere() -> None:
    n = node(CPU=2)
    n.join(2)
    near = msgspec.structs.replace(wanted(), near=1)
    n.request(1)
    n.request(2)
    n.boot()
    assert len(n.granted()) == 2
    n.request(3, near, client=make_address(1, 200))
    assert not n.take(leases.LeaseRedirect)
    n.pass_time(NEAR_WITHIN_S + 0.01)
    assert [m.node for m in n.take(leases.LeaseRedirect)] == [2]
