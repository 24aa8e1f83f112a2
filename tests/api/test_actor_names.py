"""Names of actors: found, taken, free again; namespaces and detached actors."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

import rayhpc
from tests.api.test_actors import Counter, wait_for


def test_found_by_name(ray: Any) -> None:
    counter = Counter.options(name="found").remote(1)
    assert ray.get(ray.get_actor("found").increase.remote()) == 2
    assert ray.get_actor("found") == counter

    @ray.remote
    def inside() -> int:
        found: int = rayhpc.get(rayhpc.get_actor("found").increase.remote())
        return found

    assert ray.get(inside.remote(), timeout=20) == 3


def test_unknown_and_taken_names_are_told_apart(ray: Any) -> None:
    with pytest.raises(ValueError, match="Failed to look up actor with name 'unknown'"):
        ray.get_actor("unknown")
    kept = Counter.options(name="taken").remote()
    with pytest.raises(ValueError, match="taken"):
        Counter.options(name="taken").remote()
    assert ray.get(kept.increase.remote()) == 1
    with pytest.raises(ValueError, match="name"):
        ray.get_actor("")
    with pytest.raises(TypeError, match="text"):
        ray.get_actor(3)


def test_namespaces_separate_names(ray: Any) -> None:
    here = Counter.options(name="same").remote(1)
    there = Counter.options(name="same", namespace="elsewhere").remote(10)
    assert ray.get_actor("same") == here
    assert ray.get_actor("same", namespace="elsewhere") == there
    with pytest.raises(ValueError, match="'nowhere'"):
        ray.get_actor("same", namespace="nowhere")


def test_a_name_is_free_after_kill_and_after_the_last_handle(ray: Any) -> None:
    def is_free() -> bool:
        try:
            ray.get_actor("again")
        except ValueError:
            return True
        return False

    first = Counter.options(name="again").remote()
    ray.kill(first)
    wait_for(is_free)
    second = Counter.options(name="again").remote(5)
    assert ray.get(second.increase.remote(), timeout=20) == 6
    del second
    gc.collect()
    wait_for(is_free)
    assert ray.get(Counter.options(name="again").remote().increase.remote(), timeout=20) == 1


def test_a_handle_found_by_name_does_not_keep_the_actor(ray: Any) -> None:
    from tests.api.test_actors import is_dead

    counter = Counter.options(name="weak").remote()
    found = ray.get_actor("weak")
    del counter
    gc.collect()
    wait_for(lambda: is_dead(found))


def test_get_if_exists_makes_exactly_one(ray: Any) -> None:
    found: list[Any] = []

    def make() -> None:
        found.append(Counter.options(name="one", get_if_exists=True).remote())

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 1
    counts = ray.get([x.increase.remote() for x in found], timeout=20)
    assert sorted(counts) == [1, 2, 3, 4, 5, 6]


def test_get_if_exists_from_many_tasks(ray: Any) -> None:
    @ray.remote
    def make() -> str:
        actor = Counter.options(
            name="of all", get_if_exists=True, lifetime="detached"
        ).remote()
        found: str = actor._actor_id.hex()
        return found

    assert len(set(ray.get([make.remote() for _ in range(8)], timeout=30))) == 1
    ray.kill(ray.get_actor("of all"))


def test_a_detached_actor_outlives_its_handles(ray: Any) -> None:
    Counter.options(name="detached", lifetime="detached").remote(3)
    gc.collect()
    assert ray.get(ray.get_actor("detached").increase.remote(), timeout=20) == 4
    ray.kill(ray.get_actor("detached"))
