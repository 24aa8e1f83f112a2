"""What has run so far: the same sums as a report's, in memory that does not grow."""

from __future__ import annotations

import pytest

from rayhpc.observe.live import tally as tallies
from rayhpc.observe.live.tally import OTHERS, Tally
from rayhpc.wire.messages.task_runs import RunPage
from tests.observe.generator import Made
from tests.observe.live.looks import pages_of, tally_of


def test_functions_and_actors_are_summed_up() -> None:
    made = Made()
    for i in range(100):
        made.run("f", i * 0.1, 0.01 if i < 98 else 5.0, waited=0.001)
    made.run("f", 1.0, 1.0, error="ValueError at x")
    made.run("A.m", 2.0, 1.0, actor=b"a" * 16)
    made.run("A.m", 3.0, 1.0, actor=b"a" * 16, error="E")
    found = tally_of(made)
    f = found.functions["f"]
    assert (f.count, f.failed, f.longest) == (101, 1, 5.0)
    assert f.seconds == pytest.approx(0.98 + 10 + 1)
    assert f.quantile(0.5) == pytest.approx(0.01, rel=0.1)
    assert f.quantile(0.99) == pytest.approx(5.0, rel=0.1)
    actor = found.actors[b"a" * 16]
    assert (actor.calls, actor.failed, actor.seconds) == (2, 1, 2.0)
    assert found.runs == 103


def test_runs_queue_from_their_submission_to_their_beginning() -> None:
    made = Made()
    for i in range(4):
        made.run("f", i * 1.0, 1.0, submitted=0.0)
    made.run("f", 9.0, 1.0, submitted=0.0, attempt=1)
    made.run("f", 9.0, 1.0)
    f = tally_of(made).functions["f"]
    assert (f.queued, f.queued_of) == (pytest.approx(6.0), 4)


def test_rates_are_of_what_is_new_and_of_the_last_seconds() -> None:
    made = Made()
    for i in range(50):
        made.run("f", i * 0.01, 0.01)
    (page,) = [RunPage([x for page in pages_of(made) for x in page.chunks])]
    tally = Tally()
    tally.add(page, is_news=False)
    tally.mark(10.0)
    assert tally.rates() == {}
    tally.add(page, is_news=True)
    tally.mark(12.0)
    assert tally.rates() == {"f": 25.0}
    for at in (14.0, 16.0, 18.0, 20.0):
        tally.mark(at)
    assert tally.rates() == {}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "FUNCTIONS_MOST", 3)
    monkeypatch.setattr(tallies, "ACTORS_MOST", 2)
    made = Made()
    for i in range(40):
        made.run(f"f{i}", i * 1.0, 0.5, actor=bytes([i]) * 16)
    tally = tally_of(made, recent=10)
    assert set(tally.functions) == {"f0", "f1", "f2", OTHERS}
    assert tally.functions[OTHERS].count == 37
    assert len(tally.actors) == 2
    kept = tally.recent()
    assert 10 <= 40 - kept[-1].dropped <= 11
    assert sum(bool(x.chunks) for x in kept) <= 11
