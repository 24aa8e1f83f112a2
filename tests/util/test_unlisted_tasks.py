"""Tasks and calls with enable_task_events=False are in no listing."""

from __future__ import annotations

import time

import pytest

import rayhpc
from rayhpc.util import state

pytestmark = pytest.mark.usefixtures("cluster")


@rayhpc.remote
def traced(fail: bool = False) -> None:
    assert not fail


@rayhpc.remote(num_cpus=0)
class Traced:
    """Its methods say themselves whether listings show them, or leave it to the actor."""

    def plain(self) -> None:
        return

    @rayhpc.method(enable_task_events=True)
    def shown(self) -> None:
        return

    @rayhpc.method(enable_task_events=False)
    def hidden(self) -> None:
        return


def listed() -> list[str]:
    """The names of what listings show of this module's runs."""
    rows = (x.name for x in state.list_tasks(limit=10_000))
    return sorted(x for x in rows if x.startswith(("Traced.", "traced")))


def test_what_is_not_to_be_listed() -> None:
    quiet = traced.options(enable_task_events=False)
    with pytest.raises(AssertionError):
        rayhpc.get(quiet.remote(fail=True))
    rayhpc.get([quiet.remote(), traced.options(name="traced").remote()])
    for events in (True, False):
        actor = Traced.options(enable_task_events=events).remote()
        rayhpc.get([actor.plain.remote(), actor.shown.remote(), actor.hidden.remote()])
        rayhpc.get(actor.plain.options(enable_task_events=True, name="Traced.asked").remote())
    calls = ["Traced.__init__", "Traced.asked", "Traced.asked", "Traced.plain"]
    calls += ["Traced.shown", "Traced.shown"]
    deadline = time.monotonic() + 20
    while len(listed()) < 7 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert listed() == [*calls, "traced"]
