"""Programs with known answers, one round each: raise WrongAnswerError, or return.

Used by `run`.  All their tasks may be run again, all their actors may be started again; so no kill
but the driver's or the head's may show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import rayhpc as ray

# A task's first try and all further ones; an actor's lives.
RETRIES = {"max_retries": -1}
LIVES = {"max_restarts": -1, "max_task_retries": -1}

ARRAY_ITEMS = 100_000
LEAVES = 8
MAPPERS, REDUCERS = 4, 3
WORKERS, STEPS = 3, 5
DEPTH = 8


class WrongAnswerError(Exception):
    """A program has given another answer than the known one."""


def check(what: str, got: Any, wanted: Any) -> None:
    if got != wanted:
        raise WrongAnswerError(f"{what}: {got!r} instead of {wanted!r}")


# -- a reduction tree over large arrays -----------------------------------------------------------
@ray.remote(**RETRIES)
def leaf(value: int) -> Any:
    return np.full(ARRAY_ITEMS, value, dtype=np.int64)


@ray.remote(**RETRIES)
def add(one: Any, other: Any) -> Any:
    return one + other


def reduction(number: int) -> None:
    level = [leaf.remote(number + i) for i in range(LEAVES)]
    while len(level) > 1:
        level = [add.remote(*level[i : i + 2]) for i in range(0, len(level), 2)]
    total = ray.get(level[0])
    wanted = sum(number + i for i in range(LEAVES))
    check("reduction", (int(total.min()), int(total.max())), (wanted, wanted))


# -- a shuffle ------------------------------------------------------------------------------------
@ray.remote(num_returns=REDUCERS, **RETRIES)
def split(seed: int) -> Any:
    values = np.random.default_rng(seed).integers(0, 1000, 3 * ARRAY_ITEMS)
    return [values[values % REDUCERS == i] for i in range(REDUCERS)]


@ray.remote(**RETRIES)
def gather(*parts: Any) -> tuple[int, int]:
    return sum(len(x) for x in parts), sum(int(x.sum()) for x in parts)


def shuffle(number: int) -> None:
    seeds = [number * MAPPERS + i for i in range(MAPPERS)]
    parts = [split.remote(seed) for seed in seeds]
    found = ray.get([gather.remote(*column) for column in zip(*parts, strict=True)])
    wanted = sum(
        int(np.random.default_rng(seed).integers(0, 1000, 3 * ARRAY_ITEMS).sum()) for seed in seeds
    )
    items = MAPPERS * 3 * ARRAY_ITEMS
    check("shuffle", (sum(x[0] for x in found), sum(x[1] for x in found)), (items, wanted))


# -- a parameter server: its state is the driver's, so a new life changes nothing ------------------
@ray.remote(num_cpus=0.1, **LIVES)
class Shard:
    def gradient(self, weights: Any, step: int) -> Any:
        return weights * 2 + step


def parameter_server(number: int) -> None:
    shards = [Shard.remote() for _ in range(WORKERS)]
    weights = wanted = np.arange(ARRAY_ITEMS, dtype=np.int64) % 7 + number % 5
    for step in range(STEPS):
        stored = ray.put(weights)
        gradients = ray.get([shard.gradient.remote(stored, step) for shard in shards])
        weights = sum(gradients) % 1009
        wanted = WORKERS * (wanted * 2 + step) % 1009
    check("parameter server", int(np.abs(weights - wanted).sum()), 0)


# -- nested tasks ---------------------------------------------------------------------------------
@ray.remote(**RETRIES)
def down(depth: int) -> int:
    return 0 if depth == 0 else 1 + ray.get(down.remote(depth - 1))


def nested(number: int) -> None:
    check("nested", ray.get(down.remote(DEPTH)), DEPTH)


# -- many small calls -----------------------------------------------------------------------------
@ray.remote(num_cpus=0.1, **LIVES)
class Squares:
    def square(self, value: int) -> int:
        return value * value


def small_calls(number: int) -> None:
    actors = [Squares.remote() for _ in range(2)]
    values = range(number, number + 2_000)
    found = ray.get([actors[i % 2].square.remote(i) for i in values])
    check("small calls", found, [i * i for i in values])


@ray.remote(**RETRIES)
def square(value: int) -> int:
    return value * value


def small_tasks(number: int) -> None:
    values = range(number, number + 2_000)
    check("small tasks", ray.get([square.remote(i) for i in values]), [i * i for i in values])


ALL: dict[str, Callable[[int], None]] = {
    "reduction tree": reduction,
    "shuffle": shuffle,
    "parameter server": parameter_server,
    "nested tasks": nested,
    "small actor calls": small_calls,
    "small tasks": small_tasks,
}
