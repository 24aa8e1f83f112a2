"""What a function or class has captured lives as long as it is in use, and no longer."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc
from rayhpc.runtime.process import current

SIZE = 1_000_000


@pytest.fixture(params=["here", "far"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options that put a task or actor on the driver's node, or on the other of two."""
    if request.param == "here":
        request.getfixturevalue("ray")
        return {"num_cpus": 0.5}
    request.getfixturevalue("nodes")
    return {"num_cpus": 0.5, "resources": {"far": 0.01}}


@rayhpc.remote(num_cpus=0)
class Gate:
    def __init__(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def is_it_open(self) -> bool:
        return self.is_open


def passes(gate: Any) -> None:
    while not rayhpc.get(gate.is_it_open.remote()):
        time.sleep(0.01)


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stored_bytes() -> float:
    """Bytes of all stores that are in use."""
    gc.collect()
    total = rayhpc.cluster_resources()["object_store_memory"]
    return total - rayhpc.available_resources()["object_store_memory"]


def of_function(place: dict[str, Any], gate: Any) -> list[Any]:
    data = rayhpc.put(bytes(SIZE))

    @rayhpc.remote
    def part(i: int) -> int:
        passes(gate)
        return len(rayhpc.get(data)) + i

    return [part.options(**place).remote(i) for i in range(6)]


def of_generator(place: dict[str, Any], gate: Any) -> list[Any]:
    data = rayhpc.put(bytes(SIZE))

    @rayhpc.remote
    def parts() -> Any:
        passes(gate)
        for i in range(6):
            yield len(rayhpc.get(data)) + i

    return [parts.options(**place).remote()]


def of_class_attribute(place: dict[str, Any], gate: Any) -> list[Any]:
    class Holder:
        data = rayhpc.put(bytes(SIZE))

    @rayhpc.remote
    def part(i: int) -> int:
        passes(gate)
        return len(rayhpc.get(Holder.data)) + i

    return [part.options(**place).remote(i) for i in range(6)]


def of_class(place: dict[str, Any], gate: Any) -> list[Any]:
    data = rayhpc.put(bytes(SIZE))

    @rayhpc.remote(max_restarts=1, max_task_retries=-1)
    class Part:
        def __init__(self, gate: Any) -> None:
            passes(gate)

        def part(self, i: int) -> int:
            return len(rayhpc.get(data)) + i

    actor = Part.options(**place).remote(gate)
    return [actor.part.remote(i) for i in range(6)]


@pytest.mark.parametrize("start", [of_function, of_generator, of_class_attribute, of_class])
def test_captured_references_live_as_long_as_their_definition(
    place: dict[str, Any], start: Callable[..., list[Any]]
) -> None:
    until(lambda: stored_bytes() == 0)
    gate = Gate.remote()
    found = start(place, gate)
    gc.collect()
    passing = rayhpc.remote(passes).remote(gate)
    gate.open.remote()
    rayhpc.get(passing)
    if len(found) == 1:
        found = list(found[0])
    assert rayhpc.get(found, timeout=30) == [SIZE + i for i in range(6)]
    del found, passing
    until(lambda: stored_bytes() == 0)


@pytest.mark.usefixtures("ray")
def test_a_function_is_pickled_once_whatever_its_options() -> None:
    pickled = []

    class Counted:
        def __reduce__(self) -> Any:
            pickled.append(1)
            return Counted, ()

    counted = Counted()

    @rayhpc.remote
    def task() -> bool:
        return counted is not None

    assert rayhpc.get([task.options(name=f"{i}").remote() for i in range(5)]) == [True] * 5
    assert rayhpc.get(task.remote()) is True
    assert len(pickled) == 1


@pytest.mark.usefixtures("ray")
def test_classes_and_definitions_that_nobody_uses_go() -> None:
    submitter = current.client()._core.submitter

    @rayhpc.remote
    def one() -> int:
        return 1

    rayhpc.get(one.remote())
    until(lambda: len(submitter._queues) <= 1)
    before = len(submitter.definitions)
    for i in range(200):
        assert rayhpc.get(one.options(memory=1000 + i).remote()) == 1
        value = bytes([i])
        assert rayhpc.get(rayhpc.remote(lambda v=value: len(v)).remote()) == 1

    def is_clean() -> bool:
        rayhpc.get(one.remote())
        gc.collect()
        return len(submitter._queues) <= 1 and len(submitter.definitions) <= before + 1

    until(is_clean)
