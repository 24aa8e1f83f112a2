"""Leases inside the bundles of placement groups."""

from __future__ import annotations

import pytest

from rayhpc.wire.address import make_address
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages import actors, leases
from rayhpc.wire.messages.common import Strategy
from tests.raylet.doubles import NODE, Node, job, units, wanted

OTHER = make_address(NODE, 101)
FAR = make_address(2, 5)


def node(**more: float) -> Node:
    made = Node(**(more or {"CPU": 2}))
    made.jobs.add(job())
    return made


GROUP = b"g" * 16


def in_group(bundle: int = -1, **amounts: float) -> object:
    return wanted(Strategy("group", group=GROUP, bundle=bundle), **amounts)


def created(n: Node, nodes: list[int]) -> None:
    bundles = [units(CPU=1)] * len(nodes)
    n.bundles.on_group_is(actors.GroupIs(GROUP, actors.GROUP_CREATED, nodes, bundles))
    n.leases.on_view_changed()


def test_a_bundle_serves_its_own_and_nobody_else() -> None:
    n = node(CPU=2)
    assert n.bundles.set_aside(GROUP, {0: units(CPU=1)})
    n.request(1, in_group(0))  # type: ignore[arg-type]
    assert n.take(actors.WatchGroup)
    created(n, [NODE])
    n.boot()
    (grant,) = n.granted()
    assert (grant.grant.group, grant.grant.bundle) == (GROUP, 0)
    n.request(2)
    n.request(3)
    n.boot()
    assert len(n.granted()) == 1
    n.request(4, in_group(0))  # type: ignore[arg-type]
    assert n.granted() == []


def test_a_request_that_only_lacks_a_worker_ends_with_its_group() -> None:
    n = node(CPU=2)
    assert n.bundles.set_aside(GROUP, {0: units(CPU=1)})
    n.bundles.state_of(GROUP)
    created(n, [NODE])
    n.request(1, in_group(0))  # type: ignore[arg-type]
    n.leases.on_group_removed(GROUP)
    assert [m.kind for m in n.take(leases.LeaseRefused)] == [leases.GROUP_REMOVED]
    n.bundles.give_back(GROUP, [])
    n.boot()
    assert n.granted() == []
    assert n.pool.free == n.pool.total


def test_a_bundle_elsewhere_is_asked_for_there() -> None:
    n = node()
    n.join(2)
    n.request(1, in_group(1))  # type: ignore[arg-type]
    assert n.take(leases.LeaseRedirect) == []
    created(n, [NODE, 2])
    assert [m.node for m in n.take(leases.LeaseRedirect)] == [2]
    n.request(2, in_group(5))  # type: ignore[arg-type]
    (refused,) = n.take(leases.LeaseRefused)
    assert "2 bundles" in refused.text


def test_any_bundle_goes_round_the_nodes_of_the_group() -> None:
    n = node()
    n.join(2)
    n.join(3)
    assert n.bundles.set_aside(GROUP, {0: units(CPU=1)})
    n.bundles.state_of(GROUP)
    created(n, [NODE, 2, 3])
    n.request(1, in_group())  # type: ignore[arg-type]
    n.boot()
    assert len(n.granted()) == 1
    n.request(2, in_group())  # type: ignore[arg-type]
    assert [m.node for m in n.take(leases.LeaseRedirect)] == [2]
    n.request(3, in_group(), hops=1)  # type: ignore[arg-type]
    assert n.take(leases.LeaseRedirect) == []
    n.pass_time(0.3)
    assert [(m.request, m.node) for m in n.take(leases.LeaseRedirect)] == [(3, 2)]


def test_a_removed_group_refuses_and_kills() -> None:
    n = node()
    assert n.bundles.set_aside(GROUP, {0: units(CPU=1)})
    n.bundles.state_of(GROUP)
    created(n, [NODE])
    n.request(1, in_group(0))  # type: ignore[arg-type]
    n.boot()
    grant = n.granted()[0]
    n.request(2, in_group(0))  # type: ignore[arg-type]
    n.leases.on_group_removed(GROUP)
    n.bundles.give_back(GROUP, [])
    assert [m.kind for m in n.take(leases.LeaseRefused)] == [leases.GROUP_REMOVED]
    assert n.killed == [n.worker(grant).number]
    assert n.pool.free == n.pool.total
    n.die(n.worker(grant))
    assert n.pool.free == n.pool.total
    n.bundles.on_group_is(actors.GroupIs(GROUP, actors.GROUP_REMOVED))
    n.request(3, in_group(0))  # type: ignore[arg-type]
    assert [m.kind for m in n.take(leases.LeaseRefused)] == [leases.GROUP_REMOVED]


def test_bundles_are_set_aside_all_or_none() -> None:
    n = node(CPU=2)
    assert not n.bundles.set_aside(GROUP, {0: units(CPU=1), 1: units(CPU=2)})
    assert n.pool.free == n.pool.total


def lasting(seconds: float, bundle: int) -> object:
    strategy = Strategy("group", group=GROUP, bundle=bundle, seconds=seconds)
    return wanted(strategy, CPU=1)


@pytest.mark.parametrize("bundle", [0, -1])
def test_in_a_bundle_nothing_starts_that_would_outlast_its_node(bundle: int) -> None:
    n = node(CPU=1)
    n.view.nodes[NODE].info.labels[END_LABEL] = str(n.time + 100.0)
    assert n.bundles.set_aside(GROUP, {0: units(CPU=1)})
    n.bundles.state_of(GROUP)
    created(n, [NODE])
    n.request(1, lasting(60.0, bundle))  # type: ignore[arg-type]
    n.boot()
    (held,) = n.granted()
    n.pass_time(41.0)
    assert [x.lease for x in n.take(leases.Revoke)] == [held.grant.lease]
    n.leases.on_revoked(leases.Revoked(held.grant.lease))
    n.request(2, lasting(60.0, bundle))  # type: ignore[arg-type]
    n.settle()
    assert not n.granted()
    n.pass_time(1.0)
    (told,) = {x.text for x in n.take(leases.LeaseQueued)} - {""}
    assert "in their placement group no node that could hold 1 CPU lasts for another 60 s" in told
    n.join(2, CPU=1)
    n.join(3, CPU=1)
    n.view.nodes[2].info.labels[END_LABEL] = str(n.time + 50.0)
    created(n, [NODE, 2, 3])
    assert [x.node for x in n.take(leases.LeaseRedirect)] == [3] * (bundle < 0)
