"""Bars: over references, of workers, and beside other output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

from rayhpc.runtime.process import progress_bars
from rayhpc.runtime.process.progress_bars import Bar, Board

REPOSITORY = Path(__file__).parent.parent.parent


class Terminal(io.StringIO):
    """What a terminal shows; understands what bars use: \\r, clear below, cursor up."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        rows, row, column = [""], 0, 0
        text = self.getvalue()
        while text:
            if text.startswith("\x1b[J"):
                rows[row] = rows[row][:column]
                del rows[row + 1 :]
                text = text[3:]
            elif text.startswith("\x1b["):
                count, _, text = text[2:].partition("A")
                row -= int(count)
            elif text[0] == "\r":
                column, text = 0, text[1:]
            elif text[0] == "\n":
                row, column, text = row + 1, 0, text[1:]
                if row == len(rows):
                    rows.append("")
            else:
                rows[row] = rows[row][:column].ljust(column) + text[0] + rows[row][column + 1 :]
                column, text = column + 1, text[1:]
        return rows


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    monkeypatch.setattr(progress_bars, "sys", types.SimpleNamespace(stderr=made))
    monkeypatch.setattr(progress_bars, "REDRAW_S", 0.0)
    monkeypatch.setattr(progress_bars, "_width", lambda: 80)
    return made


def bar(key: str, count: float, total: float | None = 10, closed: bool = False) -> Bar:
    return Bar(key, key, count, total, "it", time.time() - 2, closed)


def test_a_bar_moves_in_place_and_stays_when_it_ends(terminal: Terminal) -> None:
    board = Board()
    board.show(bar("one", 1))
    board.show(bar("one", 5))
    (line,) = terminal.screen()
    assert line.startswith("one:  50%|")
    assert " 5/10 [00:02<00:02" in line
    board.show(bar("one", 10, closed=True))
    assert terminal.screen()[0].startswith("one: 100%|")
    assert terminal.screen()[1:] == [""]


def test_other_lines_come_above_all_bars(terminal: Terminal) -> None:
    board = Board()
    board.show(bar("one", 1))
    board.show(bar("two", 2))
    with board.above():
        terminal.write("a line of a worker\n")
    first, second, third = terminal.screen()
    assert first == "a line of a worker"
    assert second.startswith("one:")
    assert third.startswith("two:")
    board.show(bar("one", 10, closed=True))
    rows = terminal.screen()
    assert [x[:4] for x in rows] == ["a li", "one:", "two:"]


def test_a_bar_without_a_total_counts(terminal: Terminal) -> None:
    Board().show(bar("some", 7, total=None))
    assert terminal.screen()[0].startswith("some: 7it [00:02]")


def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Bar("k", "a very long description " * 5, 3, 10, "it", time.time())
    assert len(wide.line(40, time.time())) == 40


def test_without_a_terminal_only_the_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(progress_bars, "sys", types.SimpleNamespace(stderr=file))
    board = Board()
    for count in range(10):
        board.show(bar("quiet", count))
    assert file.getvalue() == ""
    board.show(bar("quiet", 10, closed=True))
    assert file.getvalue().startswith("quiet: 100%|")
    assert file.getvalue().count("\n") == 1


def test_a_workers_line_is_a_bar_only_if_it_is_one(terminal: Terminal) -> None:
    board = Board()
    assert not board.take("an ordinary line", "f pid=1 ")
    assert not board.take(progress_bars.MARK + "not json", "f pid=1 ")
    assert board.take(progress_bars.pack(bar("one", 3)), "f 1 ")
    assert terminal.screen()[0].startswith("f 1 one:  30%|")


PROGRAM = """
    import sys, time
    import rayhpc
    from rayhpc.util import tqdm_ray
    from rayhpc.util.progress_bars import get_with_progress, progress_bar

    class Shown:
        def __init__(self, file):
            self.file, self.text = file, []

        def write(self, text):
            self.text.append(text)
            return self.file.write(text)

        def __getattr__(self, name):
            return getattr(self.file, name)

    sys.stdout, sys.stderr = Shown(sys.stdout), Shown(sys.stderr)

    def shown(what):
        return "".join(sys.stdout.text + sys.stderr.text).count(what)

    @rayhpc.remote
    def work(name):
        print("ordinary output of", name, flush=True)
        for _ in tqdm_ray.tqdm(range(5), desc=name):
            pass
        bar = tqdm_ray.tqdm(total=3, desc=name + " by hand")
        bar.update(2)
        bar.set_description(name + " renamed")
        bar.close()
        return name

    rayhpc.init(num_cpus=2)
    refs = [work.remote("a"), work.remote("b")]
    assert sorted(map(rayhpc.get, progress_bar(refs, "waiting"))) == ["a", "b"]
    assert get_with_progress(refs, "values") == ["a", "b"]
    local = tqdm_ray.tqdm([1, 2], desc="driver's own")
    assert (list(local), len(local), local.n) == ([1, 2], 2, 2)
    # What workers have printed takes a moment to come.
    deadline = time.monotonic() + 60
    while (
        shown("ordinary") < 2 or shown("renamed:  67%") < 2
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    rayhpc.shutdown()
"""


def test_bars_of_workers_reach_the_driver(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(PROGRAM))
    path = os.pathsep.join(x for x in (os.environ.get("PYTHONPATH"), str(REPOSITORY)) if x)
    done = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": path, "RAYHPC_DEDUP_LOGS": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert progress_bars.MARK not in done.stdout + done.stderr
    for name in ("a", "b"):
        assert f"ordinary output of {name}" in done.stdout
        assert f"{name}: 100%|" in done.stderr
        assert f"{name} renamed:  67%|" in done.stderr
    assert "waiting: 100%|" in done.stderr
    assert "driver's own: 100%|" in done.stderr
