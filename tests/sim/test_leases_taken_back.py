"""Leases that are taken back while their submitters still speak of them: nobody loses a task."""

from __future__ import annotations

from typing import Any

import pytest

from .checks import nothing_left, submit, values
from .cluster import Cluster

LONG = [0.0003, 0.001, 0.004, 0.02, 0.06]


@pytest.mark.parametrize("part", range(3))
def test_owners_that_share_few_workers_lose_no_task(seed: int, part: int) -> None:
    sim = Cluster(3 * seed + part, nodes=4, cpus=1)
    random = sim.world.random
    driver = sim.driver(1)
    try:
        for _ in range(3):
            mixed = [(random.choice(LONG), i) for i in range(random.choice([12, 40]))]
            plain = submit(driver, "sleeps", mixed)
            boxes = submit(driver, "submits", [(random.choice(["large", "mixed"]), 3)] * 6)
            assert values(sim, driver, plain, 20.0) == [i for _, i in mixed]
            boxed = values(sim, driver, boxes, 20.0)
            totals = submit(driver, "waits_for", [(pair,) for pair in boxed])
            assert values(sim, driver, totals, 20.0) == [3] * 6
            plain = boxes = boxed = totals = None
        left: list[Any] = []
        nothing_left(sim, left)
    finally:
        sim.close()
