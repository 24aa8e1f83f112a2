"""What the head knows of waiting tasks: each counted once, while it waits and its owner lives."""

from __future__ import annotations

from rayhpc.head.load import load_of

from .checks import nothing_left, submit, values
from .cluster import Cluster

CPUS = 6


def waiting(sim: Cluster) -> int:
    """How many tasks wait, by the head's tables."""
    sim.world.run_for(1.0)  # reports are at most a quarter of a second late, twice
    head = sim.head
    return sum(x.count for x in load_of(head.nodes, head.actors, head.groups).waiting)


def test_each_waiting_task_is_counted_once(sim: Cluster) -> None:
    first, second = sim.driver(1), sim.driver(2)
    refs = submit(first, "sleeps", [(10.0, i) for i in range(40)])
    assert waiting(sim) == 40 - CPUS
    more = submit(first, "sleeps", [(10.0, i) for i in range(30)])
    assert waiting(sim) == 70 - CPUS
    theirs = submit(second, "sleeps", [(10.0, i) for i in range(25)])
    sim.world.run_for(12.0)  # what has run makes room for both
    started = 2 * CPUS
    assert waiting(sim) == 95 - started
    sim.kill_driver(first)
    refs.clear()
    more.clear()
    left = waiting(sim)
    assert 0 < left < 25
    assert values(sim, second, theirs, 100.0) == list(range(25))
    assert waiting(sim) == 0
    nothing_left(sim, theirs)
