"""Pools: what is taken and given back adds up; GPUs are whole or shared, never both."""

from __future__ import annotations

import random

from rayhpc.raylet.resources import Allocation, Pool, shortage
from rayhpc.wire.messages.common import UNIT
from tests.raylet.doubles import units


def gpus(count: int) -> Pool:
    return Pool(units(CPU=8, GPU=count), {f"GPU-{i}": UNIT for i in range(count)})


def test_fractions_share_one_gpu() -> None:
    pool = gpus(2)
    halves = [pool.take(units(GPU=0.5)) for _ in range(2)]
    assert [x.devices() for x in halves if x] == [{"GPU": ["GPU-0"]}] * 2
    whole = pool.take(units(GPU=1))
    assert whole is not None
    assert whole.devices() == {"GPU": ["GPU-1"]}
    assert pool.take(units(GPU=0.1)) is None


def test_a_whole_gpu_is_not_made_of_two_halves() -> None:
    pool = gpus(2)
    first, second = pool.take(units(GPU=0.6)), pool.take(units(GPU=0.6))
    assert first is not None
    assert second is not None
    assert first.devices() != second.devices()
    # 0.8 are free in all, on two devices.
    assert not pool.fits(units(GPU=0.8))
    pool.give_back(second)
    assert pool.fits(units(GPU=1))


def test_lent_cpus_may_be_used_twice_for_a_while() -> None:
    pool = Pool(units(CPU=1, memory=10))
    first = pool.take(units(CPU=1, memory=5))
    assert first is not None
    pool.lend(first)
    second = pool.take(units(CPU=1))
    assert second is not None
    pool.unlend(first)
    assert pool.free["CPU"] == -UNIT
    assert pool.take(units(CPU=1)) is None
    pool.give_back(second)
    assert pool.take(units(CPU=1)) is None
    pool.give_back(first)
    assert pool.free == pool.total


def test_giving_back_what_is_lent_counts_once() -> None:
    pool = Pool(units(CPU=2))
    held = pool.take(units(CPU=1))
    assert held is not None
    pool.lend(held)
    pool.lend(held)
    pool.give_back(held)
    assert pool.free == pool.total


def test_shrinking_keeps_what_is_held() -> None:
    pool = gpus(1)
    held = pool.take(units(CPU=1, GPU=0.5))
    assert held is not None
    pool.shrink(held, units(GPU=0.5))
    assert pool.free == units(CPU=8, GPU=0.5)
    assert held.devices() == {"GPU": ["GPU-0"]}
    pool.shrink(held, {})
    assert pool.free == pool.total
    assert pool.gpus == {"GPU-0": UNIT}


def test_random_use_adds_up() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        pool = gpus(3)
        held: list[Allocation] = []
        for _ in range(200):
            step = rng.random()
            if step < 0.5:
                amount = rng.choice([0, 0.25, 0.5, 1, 2])
                found = pool.take(units(CPU=rng.choice([0, 0.5, 1]), GPU=amount))
                if found is not None:
                    held.append(found)
            elif held and step < 0.6:
                pool.lend(rng.choice(held))
            elif held and step < 0.7:
                pool.unlend(rng.choice(held))
            elif held:
                pool.give_back(held.pop(rng.randrange(len(held))))
            assert all(0 <= free <= UNIT for free in pool.gpus.values()), seed
            assert sum(pool.gpus.values()) == pool.free["GPU"], seed
        while held:
            pool.give_back(held.pop())
        assert pool.free == pool.total, seed


def test_shortage() -> None:
    assert shortage(units(CPU=1), units(CPU=3, GPU=0)) == units(CPU=2)
