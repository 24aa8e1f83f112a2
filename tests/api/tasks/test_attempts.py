"""Attempts of a task that make different values: whoever reads gets what its owner accepted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import rayhpc

LARGE = 300_000
FAR = {"resources": {"far": 0.01}}


@pytest.fixture(params=["here", "far"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options that put a task on the driver's node, or on the other of two."""
    request.getfixturevalue("nodes")
    return {} if request.param == "here" else FAR


@rayhpc.remote(num_cpus=0, max_concurrency=3)
class Gate:
    """Counts the attempts; the first one waits here until its value has been read."""

    def __init__(self) -> None:
        self._attempts = 0
        self._opened = threading.Event()

    def attempt(self) -> int:
        self._attempts += 1
        return self._attempts

    def pass_through(self) -> bool:
        return self._opened.wait(30)

    def open(self) -> None:
        self._opened.set()


@rayhpc.remote(num_cpus=0)
class Reader:
    """Holds what it has read."""

    def __init__(self) -> None:
        self._held: list[Any] = []

    def look(self, boxed: list[Any]) -> int:
        self._held.append(rayhpc.get(boxed[0], timeout=30))
        return int(self._held[-1][0])

    def held(self) -> list[int]:
        return [int(value[-1]) for value in self._held]


@rayhpc.remote(num_cpus=0.5, num_returns=2, max_retries=1)
def differs(gate: Any) -> Iterator[Any]:
    """Its first result is stored when its first attempt dies."""
    attempt = rayhpc.get(gate.attempt.remote())
    yield numpy.full(LARGE, attempt)
    if attempt == 1:
        rayhpc.get(gate.pass_through.remote())
        os._exit(1)
    yield attempt


@rayhpc.remote(num_cpus=0)
def first_of(value: Any) -> int:
    return int(value[0])


def test_nobody_gets_what_a_failed_attempt_stored_anew(place: dict[str, Any]) -> None:
    """Not even on its node, where somebody holds it; who holds it keeps it."""
    gate = Gate.remote()
    readers = [Reader.remote(), Reader.options(**FAR).remote()]
    first, second = differs.options(**place).remote(gate)
    early = [reader.look.remote([first]) for reader in readers]
    assert rayhpc.get(early, timeout=30) == [1, 1]
    gate.open.remote()
    assert rayhpc.get(second, timeout=30) == 2
    assert rayhpc.get(first, timeout=30)[0] == 2
    late = [first_of.remote(first), first_of.options(**FAR).remote(first)]
    late += [reader.look.remote([first]) for reader in readers]
    assert rayhpc.get(late, timeout=30) == [2, 2, 2, 2]
    held = [reader.held.remote() for reader in readers]
    assert rayhpc.get(held, timeout=30) == [[1, 2], [1, 2]]
