"""Large values over the data plane while connections break: none is lost, mixed or left over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rayhpc.wire.messages.common import Strategy

from .checks import nothing_left, submit, values
from .cluster import Cluster
from .programs import LARGE

COUNT = 24


def _reset(sim: Cluster) -> None:
    for i in range(1, 20):
        sim.world.after(0.1 * i, sim.planes.cut_all)


def _wrong(sim: Cluster) -> None:
    sim.planes.wrong = 0.3


def _stall(sim: Cluster) -> None:
    sim.planes.stalls = 0.1


def _closed(sim: Cluster) -> None:
    sim.planes.unreachable = {2, 3}


@pytest.mark.parametrize("fault", [_reset, _wrong, _stall, _closed])
def test_every_value_arrives_as_it_was(sim: Cluster, fault: Callable[[Cluster], None]) -> None:
    driver = sim.driver()
    sim.world.run_for(0.1)  # the nodes hear of each other
    fault(sim)
    elsewhere = [Strategy("node", node=f"{index:056x}") for index in (1, 2)]
    numbers = [(i,) for i in range(COUNT)]
    refs = submit(driver, "large", numbers[::2], strategy=elsewhere[0])
    refs += submit(driver, "large", numbers[1::2], strategy=elsewhere[1])
    found = values(sim, driver, refs)
    wanted = [*range(0, COUNT, 2), *range(1, COUNT, 2)]
    assert [bytes(x) for x in found] == [i.to_bytes(8, "big") * (LARGE // 8) for i in wanted]
    assert sim.planes.bytes or fault is _closed
    nothing_left(sim, refs, found, after=5.0)
