"""A short run under fire; `python -m tests.chaos.run --seconds N` is the long one."""

from __future__ import annotations

from tests.chaos.run import run


def test_no_kill_shows() -> None:
    report = run(6.0, seed=7, pause_s=0.4)
    print(report)
    assert sum(report.killed.values()) >= 2
    assert report.is_good, str(report)
