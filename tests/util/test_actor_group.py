"""`ActorGroup`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import rayhpc
from rayhpc.util.actor_group import ActorGroup
from rayhpc.util.annotations import RayDeprecationWarning

pytestmark = pytest.mark.usefixtures("cluster")


class Worker:
    def __init__(self, start: int = 0) -> None:
        self.start = start

    def add(self, x: int) -> int:
        return self.start + x

    def get_actor_metadata(self) -> str:
        return f"of {self.start}"


@pytest.fixture
def group() -> Iterator[Any]:
    with pytest.warns(RayDeprecationWarning, match="use ray.util.multiprocessing"):
        made = ActorGroup(Worker, num_actors=2, num_cpus_per_actor=0, init_kwargs={"start": 3})
    yield made
    made.shutdown(0)


def test_a_call_goes_to_every_actor(group: Any) -> None:
    assert rayhpc.get(group.add.remote(1), timeout=30) == [4, 4]
    assert group.actor_metadata == ["of 3", "of 3"]
    group.add_actors(1)
    assert len(group) == len(rayhpc.get(group.add.remote(1), timeout=30)) == 3
    group.remove_actors([0, 1])
    assert rayhpc.get(group[0].actor.add.remote(2), timeout=30) == 5


def test_it_ends_and_starts_again(group: Any) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        group.start()
    actors = [x.actor for x in group.actors]
    group.shutdown()
    with pytest.raises(RuntimeError, match="start"):
        group.add.remote(1)
    with pytest.raises(rayhpc.exceptions.RayActorError):
        rayhpc.get(actors[0].add.remote(1), timeout=30)
    group.start()
    assert rayhpc.get(group.add.remote(1), timeout=30) == [4, 4]


def test_what_cannot_be_is_refused(group: Any) -> None:
    with pytest.raises(TypeError, match="add.remote"):
        group.add(1)
    with pytest.raises(AttributeError):
        group.none_such.remote()
    for odd in ({"num_actors": 0}, {"num_cpus_per_actor": -1}):
        with pytest.raises(ValueError, match=next(iter(odd))):
            ActorGroup(Worker, **odd)
