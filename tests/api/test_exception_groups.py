"""Errors that are groups: `except*` takes them apart, whatever raised them and wherever."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc
from rayhpc.exceptions import RayTaskError

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="except* came with Python 3.11")

# In text, since older Pythons cannot read it.
_TAKE_APART = """
def take_apart(call):
    found = []
    try:
        call()
    except* ValueError as group:
        found.append(("values", [str(x) for x in group.exceptions]))
    except* Exception as group:
        found.append(("others", [type(x).__name__ for x in group.exceptions]))
    return found
"""
FOUND = [("values", ["a"]), ("others", ["TypeError"])]


def take_apart(call: Callable[[], Any]) -> Any:
    space: dict[str, Any] = {}
    exec(_TAKE_APART, space)
    return space["take_apart"](call)


def fail() -> None:
    raise ExceptionGroup("two", [ValueError("a"), TypeError("b")])  # noqa: F821


@pytest.fixture(params=["ray", "nodes"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of what runs: anywhere on the one node, or on the one where the driver is not."""
    request.getfixturevalue(request.param)
    return {} if request.param == "ray" else {"resources": {"far": 0.1}}


class Actor:
    def plain(self) -> None:
        fail()

    def items(self) -> Any:
        yield 1
        fail()


class AsyncActor:
    async def plain(self) -> None:
        async def later() -> None:
            raise ValueError("a")

        async def other() -> None:
            raise TypeError("b")

        async with asyncio.TaskGroup() as tasks:  # type: ignore[attr-defined]
            tasks.create_task(later())
            tasks.create_task(other())


def test_of_tasks_actors_and_generators(place: dict[str, Any]) -> None:
    task = rayhpc.remote(**{"num_cpus": 0, **place})(fail)
    actor = rayhpc.remote(**{"num_cpus": 0, **place})(Actor).remote()
    loop = rayhpc.remote(**{"num_cpus": 0, **place})(AsyncActor).remote()
    stream = actor.items.options(num_returns="streaming").remote()
    assert rayhpc.get(next(stream), timeout=60) == 1
    for ref in (task.remote(), actor.plain.remote(), loop.plain.remote(), next(stream)):
        assert take_apart(lambda ref=ref: rayhpc.get(ref, timeout=60)) == FOUND
        assert take_apart(lambda ref=ref: ref.future().result(60)) == FOUND
        with pytest.raises(RayTaskError, match="two|TaskGroup"):
            rayhpc.get(ref)


def test_through_a_task_that_waits_for_another(place: dict[str, Any]) -> None:
    @rayhpc.remote(**{"num_cpus": 0, **place})
    def outer() -> Any:
        return rayhpc.get(rayhpc.remote(num_cpus=0)(fail).remote())

    @rayhpc.remote(**{"num_cpus": 0, **place})
    def inner() -> Any:
        return take_apart(lambda: rayhpc.get(rayhpc.remote(num_cpus=0)(fail).remote()))

    assert take_apart(lambda: rayhpc.get(outer.remote(), timeout=60)) == FOUND
    assert rayhpc.get(inner.remote(), timeout=60) == FOUND


def test_in_a_coroutine(place: dict[str, Any]) -> None:
    task = rayhpc.remote(**{"num_cpus": 0, **place})(fail)

    async def wait() -> None:
        await task.remote()

    assert take_apart(lambda: asyncio.run(wait())) == FOUND
