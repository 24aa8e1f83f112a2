"""When rank 0 records what the program did, and when it has no time for that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rayhpc.allocation.fact import Fact
from rayhpc.launch.head_rank import HeadRank
from rayhpc.launch.report_maker import ReportMaker


@pytest.mark.parametrize(
    ("told_to_end", "grace", "records"),
    [(False, 2.0, True), (True, 2.0, False), (True, 30.0, True), (True, None, True)],
)
def test_a_job_that_is_about_to_be_killed_is_not_recorded(
    told_to_end: bool, grace: float | None, records: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(ReportMaker, "begin", lambda *given: begun.append(given))
    drain = SimpleNamespace(grace=Fact(grace, "KillWait"))
    run: Any = SimpleNamespace(options=SimpleNamespace(command=("train",)), drain=drain)
    rank = HeadRank(run)
    if told_to_end:
        rank._limit(1.0)
    node: Any = SimpleNamespace(session_dir=lambda: "/nowhere")
    rank._record(node, 0, 0.0)
    assert bool(begun) == records
