"""Tables of what a cluster has, as wide as they need to be."""

from __future__ import annotations

import pytest

from rayhpc.cli import listing

ROWS = [
    {"actor_id": f"{i:032x}", "class_name": "Counter", "reason": "it was killed by `ray.kill`"}
    for i in (1, 2)
]


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    listing._show([dict(x) for x in ROWS], False, 0)
    return [x.rstrip() for x in capsys.readouterr().out.splitlines() if x.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_what_is_piped_has_a_row_in_each_line_however_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    head, _, *rows = shown(capsys)
    assert head.split("  ")[0].strip() == "actor id"
    assert [x.split() for x in rows] == [" ".join(row.values()).split() for row in ROWS]


def test_a_wide_terminal_shows_a_table(
    capsys: pytest.CaptureFixture[str], terminal: pytest.MonkeyPatch
) -> None:
    terminal.setenv("COLUMNS", "120")
    assert len(shown(capsys)) == 4


def test_a_narrow_one_shows_one_row_below_the_other(
    capsys: pytest.CaptureFixture[str], terminal: pytest.MonkeyPatch
) -> None:
    terminal.setenv("COLUMNS", "60")
    lines = shown(capsys)
    assert [x.split("  ")[0] for x in lines] == ["actor id", "class name", "reason"] * 2
    assert lines[0].endswith(ROWS[0]["actor_id"])
