"""Listings know the function of a task that has a name of its own, whatever becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import rayhpc
from rayhpc.exceptions import ActorDiedError
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


@rayhpc.remote(num_cpus=0)
class Made:
    def __init__(self, how: str) -> None:
        if how == "fails":
            raise ValueError("not made")
        if how == "never ends":
            time.sleep(3600)

    def ready(self) -> str:
        return rayhpc.get_runtime_context().get_actor_id() or ""


def test_constructors_of_actors() -> None:
    actors = [Made.remote(x) for x in ("fails", "succeeds", "never ends")]
    actors += [Made.options(resources={"nowhere": 1}).remote("never starts")]
    with pytest.raises(ActorDiedError):
        rayhpc.get(actors[0].ready.remote())
    rayhpc.get(actors[1].ready.remote())
    ids = [x._actor_id.hex() for x in actors]

    def constructors() -> list[str]:
        condition = ("name", "=", "Made.__init__")
        found = state.list_tasks(filters=[condition], limit=10_000)
        assert {x.type for x in found} <= {"ACTOR_CREATION_TASK"}
        states = {x.actor_id: x.state for x in found}
        return [states.get(x, "") for x in ids]

    until(constructors, ["FAILED", "FINISHED", "SUBMITTED_TO_WORKER", "PENDING_NODE_ASSIGNMENT"])
    failed = ("actor_id", "=", ids[0])
    (row,) = [x for x in state.list_tasks(filters=[failed]) if x.name == "Made.__init__"]
    assert row.error_type == "TASK_EXECUTION_EXCEPTION"
    assert "constructor failed" in row.error_message
    rayhpc.kill(actors[2])


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
