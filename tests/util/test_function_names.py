"""Listings know the function of a task that has a name of its own, whatever becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc
from rayhpc.util import state

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
def after(_: Any = None, fail: bool = False) -> None:
    assert not fail


@rayhpc.remote(num_cpus=0)
class Shown:
    def __repr__(self) -> str:
        return "shown"

    def call(self, _: Any = None) -> None:
        return

    async def never(self) -> None:
        import asyncio

        await asyncio.Event().wait()


def until(look: Callable[[], object], wanted: object) -> None:
    """Wait until `look()` gives that."""
    deadline = time.monotonic() + 20
    while look() != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert look() == wanted


def rows(function: str) -> dict[str, str]:
    """The state of each of a function's runs, by name."""
    found = state.list_tasks(filters=[("func_or_class_name", "=", function)], limit=10_000)
    return {x.name: x.state for x in found if x.name[:4] in ("name", "show")}


def test_tasks_and_calls_with_a_name_of_their_own() -> None:
    actor = Shown.remote()
    never = actor.never.options(name="named endless").remote()
    with pytest.raises(AssertionError):
        rayhpc.get(after.options(name="named failure").remote(fail=True))
    rayhpc.get([after.options(name="named").remote(), actor.call.options(name="named").remote()])
    rayhpc.get(actor.call.remote())
    waits = after.options(name="named wait").remote(never)
    names = {"named failure": "FAILED", "named": "FINISHED", "named wait": "PENDING_ARGS_AVAIL"}
    until(lambda: rows("after"), names)
    until(lambda: rows("Shown.call"), {"named": "FINISHED", "shown.call": "FINISHED"})
    until(lambda: rows("Shown.never"), {"named endless": "RUNNING"})
    rayhpc.cancel(never)
    del waits
