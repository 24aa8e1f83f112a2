"""Every task that ran is in the timeline and the listing, however many there were."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc.util import state

MANY = 30_000
ALL = 10 * MANY


@pytest.fixture(scope="module")
def two_workers(_clusters: Any) -> Iterator[None]:
    _clusters.end()
    rayhpc.init(num_cpus=2)
    yield
    rayhpc.shutdown()


pytestmark = pytest.mark.usefixtures("two_workers")


@rayhpc.remote
def tiny() -> None:
    return None


@rayhpc.remote
class Counter:
    def increase(self) -> int:
        return 1

    def end(self) -> None:
        rayhpc.actor.exit_actor()


def test_all_of_a_flood_are_in_the_timeline_and_the_listing(tmp_path: Path) -> None:
    refs = [tiny.remote() for _ in range(MANY)]
    rayhpc.get(refs, timeout=120)
    wanted = {x.task_id().hex() for x in refs}
    events = rayhpc.timeline() or []
    mine = [x for x in events if x["args"]["task_id"] in wanted]
    assert len(mine) == MANY
    assert {x["args"]["task_id"] for x in mine} == wanted
    assert len({x["tid"] for x in mine}) == 2
    assert [x["ts"] for x in events] == sorted(x["ts"] for x in events)
    rows = state.list_tasks(limit=ALL)
    assert wanted <= {x.task_id for x in rows}
    filtered = state.list_tasks(filters=[("name", "=", "tiny")], limit=ALL)
    assert wanted <= {x.task_id for x in filtered}
    assert len(state.list_tasks(limit=7)) == 7
    rayhpc.timeline(str(tmp_path / "trace.json"))
    written = json.loads((tmp_path / "trace.json").read_text())
    assert wanted <= {x["args"]["task_id"] for x in written}


def test_what_a_process_ran_before_it_ended_is_told() -> None:
    @rayhpc.remote(max_calls=1)
    def alone() -> None:
        return None

    refs = [alone.remote() for _ in range(4)]
    counter = Counter.remote()
    calls = [counter.increase.remote() for _ in range(3)]
    rayhpc.get([*refs, *calls], timeout=60)
    counter.end.remote()
    wanted = {x.task_id().hex() for x in [*refs, *calls]}
    deadline = time.monotonic() + 60
    while not wanted <= {x["args"]["task_id"] for x in rayhpc.timeline() or []}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_failed_is_said_to_have_failed() -> None:
    @rayhpc.remote(max_retries=0)
    def failing() -> None:
        raise ValueError("on purpose")

    ref = failing.remote()
    with pytest.raises(ValueError, match="on purpose"):
        rayhpc.get(ref)
    (event,) = [x for x in rayhpc.timeline() or [] if x["args"]["task_id"] == ref.task_id().hex()]
    assert event["args"]["state"] == "FAILED"


FEW = """
import time, rayhpc as ray
from rayhpc.util.state import list_tasks
ray.init(num_cpus=1)
tiny = ray.remote(lambda: None)
ray.get([tiny.remote() for _ in range(20_000)])
time.sleep(0.6)
kept = len(ASK)
assert 5_000 <= kept < 20_000, kept
ASK
print(20_000 - kept)
"""


@pytest.mark.parametrize(
    "asked",
    [
        "ray.timeline()",
        "list_tasks(limit=50_000)",
        "list_tasks(filters=[('state', '=', 'FINISHED')], limit=50_000)",
    ],
)
def test_what_is_missing_is_counted_and_said_once(run_program: Any, asked: str) -> None:
    done = run_program(FEW.replace("ASK", asked), {"RAYHPC_TASK_RUNS": "5000"})
    missing = int(done.stdout)
    assert done.stderr.count("older tasks are not listed") == 1
    assert f"{missing:,} older tasks" in done.stderr
