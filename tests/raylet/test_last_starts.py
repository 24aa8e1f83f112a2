"""A node with a time limit starts no task that would outlast it, and gives back such leases."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages import leases
from rayhpc.wire.messages.common import SchedulingClass, Strategy
from tests.raylet.doubles import NODE, Node, job, wanted


def node(cpus: float) -> Node:
    made = Node(CPU=cpus)
    made.jobs.add(job())
    return made


def ends_in(n: Node, seconds: float) -> None:
    """The node ends then; the time since 1970 is the double's own."""
    n.view.nodes[NODE].info.labels[END_LABEL] = str(n.time + seconds)


def lasting(seconds: float) -> SchedulingClass:
    return replace(wanted(CPU=1), strategy=Strategy(seconds=seconds))


def test_a_lease_ends_when_its_tasks_would_outlast_the_node() -> None:
    n = node(2)
    ends_in(n, 100.0)
    n.request(1, lasting(60.0))
    n.request(2)
    n.boot()
    held = next(x for x in n.granted() if x.request == 1)
    n.pass_time(39.0)
    assert not n.take(leases.Revoke)
    assert n.leases.deadline() == pytest.approx(n.time + 1.0)
    n.pass_time(1.5)
    assert [x.lease for x in n.take(leases.Revoke)] == [held.grant.lease]
    n.leases.on_revoked(leases.Revoked(held.grant.lease))
    n.request(3, lasting(60.0))
    n.pass_time(1.0)
    assert not n.granted()
    assert "lasts for another 60 s" in n.take(leases.LeaseQueued)[-1].text
    n.join(2, CPU=1)
    n.leases.on_view_changed()
    assert [x.node for x in n.take(leases.LeaseRedirect)] == [2]


def test_what_waits_here_leaves_when_too_little_time_is_left() -> None:
    n = node(1)
    ends_in(n, 100.0)
    n.request(1)
    n.boot()
    n.request(2, lasting(60.0), hops=1)
    n.join(2, CPU=1)
    n.report(2, 1, CPU=0)
    n.pass_time(30.0)
    assert not n.take(leases.LeaseRedirect)
    n.pass_time(15.0)
    assert [x.node for x in n.take(leases.LeaseRedirect)] == [2]
