"""The nodes over time: bounded, and nothing that was high or low is lost."""

from __future__ import annotations

from rayhpc.head import history
from rayhpc.head.history import History
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import NodeSample


def sample(at: float, free: int = 10, used: int = 0, pulled: int = 0) -> NodeSample:
    return NodeSample(at, free, 0, used, 0, 0, Moved(pulled, 5 * pulled))


def test_heartbeats_within_a_second_are_one_sample_with_the_extremes() -> None:
    kept = History()
    for at, free, used in ((100.0, 10, 1), (100.3, 2, 900), (100.6, 8, 3), (101.5, 9, 4)):
        kept.add(7, sample(at, free, used))
    (row,) = kept.rows()
    assert (row.node, row.every) == (7, 1.0)
    assert [(x.at, x.free_cpus, x.store_used) for x in row.samples] == [
        (100.0, 2, 900),
        (101.5, 9, 4),
    ]


def test_memory_is_kept_with_its_limit_and_at_its_most() -> None:
    kept = History()
    for at, memory in ((100.0, 10), (100.3, 70), (100.6, 20)):
        kept.add(1, NodeSample(at, 0, 0, 0, 0, 0, Moved(), memory, 100))
    ((only,),) = [row.samples for row in kept.rows()]
    assert (only.memory, only.memory_limit) == (70, 100)


def test_a_long_life_is_kept_whole_in_few_samples() -> None:
    kept = History()
    seconds = 100_000
    for i in range(seconds):
        kept.add(1, sample(float(i), used=10**12 if i == 4_321 else 5, pulled=i))
    (row,) = kept.rows()
    assert history.SAMPLES_MOST // 2 <= len(row.samples) <= history.SAMPLES_MOST
    assert row.samples[0].at == 0.0
    assert row.samples[-1].at > seconds - 2 * row.every
    assert max(x.store_used for x in row.samples) == 10**12
    assert row.samples[-1].moved == Moved(seconds - 1, 5 * (seconds - 1))


def test_nodes_that_are_long_gone_are_forgotten() -> None:
    kept = History()
    for node in range(5_000):
        kept.add(node, sample(1.0))
    rows = kept.rows()
    assert len(rows) <= 2_000
    assert rows[-1].node == 4_999
