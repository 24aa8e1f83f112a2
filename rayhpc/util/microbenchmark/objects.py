"""Rows for objects and placement groups: small and large values, many references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import remote_code as code
from .measuring import Row, Setting

LARGE = 100 * 2**20
GROUPS = 20


def rows(setting: Setting) -> Iterator[Row]:
    """All rows of this module.

    Args:
        setting: what is measured, and how.
    """
    yield from _small_rows(setting)
    yield from _large_rows(setting)
    yield from _reference_rows(setting)
    yield from _group_row(setting)


def _small_rows(setting: Setting) -> Iterator[Row]:
    ray = setting.ray
    small = ray.put(0)
    yield from setting.rate_row(
        "single client get calls", "gets/s", lambda: _repeat(lambda: ray.get(small)), 100
    )
    yield from setting.rate_row(
        "single client put calls", "puts/s", lambda: _repeat(lambda: ray.put(0)), 100
    )
    put_small = ray.remote(code.put_small)
    yield from setting.rate_row(
        "multi client put calls",
        "puts/s",
        lambda: ray.get([put_small.remote(ray.__name__, 100) for _ in range(10)]),
        1000,
    )


def _large_rows(setting: Setting) -> Iterator[Row]:
    import numpy as np

    ray = setting.ray
    array = np.ones(LARGE, dtype=np.uint8)
    target = np.zeros_like(array)
    yield from setting.rate_row(
        "single client put gigabytes",
        "GB/s",
        lambda: ray.put(array),
        LARGE / 1e9,
        ("memcpy", lambda: np.copyto(target, array)),
    )
    put_large = ray.remote(code.put_large)
    yield from setting.rate_row(
        "multi client put gigabytes",
        "GB/s",
        lambda: ray.get([put_large.remote(ray.__name__, 4, LARGE // 2) for _ in range(4)]),
        16 * (LARGE // 2) / 1e9,
    )
    large = ray.put(array)
    yield from setting.rate_row("get of 100 MiB, in place", "gets/s", lambda: ray.get(large))


def _reference_rows(setting: Setting) -> Iterator[Row]:
    ray = setting.ray
    name = "single client get object containing 10k refs"
    if setting.wants(name):
        inside = ray.remote(code.many_references).remote(ray.__name__, 10_000)
        ray.get(inside)
        yield from setting.rate_row(name, "gets/s", lambda: ray.get(inside))
    small = ray.remote(code.nothing)

    def wait_one_by_one() -> None:
        left = [small.remote() for _ in range(1000)]
        while left:
            _, left = ray.wait(left)

    yield from setting.rate_row("single client wait 1k refs", "waits/s", wait_one_by_one)


def _group_row(setting: Setting) -> Iterator[Row]:
    name = "placement group create/removal"
    if not setting.wants(name):
        return
    from importlib import import_module

    util: Any = import_module(f"{setting.ray.__name__}.util")

    def make_and_remove() -> None:
        groups = [util.placement_group([{"CPU": 0.001}]) for _ in range(GROUPS)]
        for group in groups:
            group.wait(timeout_seconds=30)
        for group in groups:
            util.remove_placement_group(group)

    yield from setting.rate_row(name, "groups/s", make_and_remove, GROUPS)


def _repeat(action: Callable[[], object]) -> None:
    for _ in range(100):
        action()
