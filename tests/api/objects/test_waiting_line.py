"""The line at a terminal while `get` and `wait` take long; silence everywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc.api.objects import waiting_line
from rayhpc.api.objects.notebook_line import as_html
from rayhpc.api.objects.waiting_line import WaitingLine
from rayhpc.runtime.process.progress_bars import Bar

PROGRAM = """
import time
import rayhpc as ray
ray.init(num_cpus=1)

@ray.remote
def slow():
    time.sleep(2.8)

@ray.remote(num_cpus=7)
def never():
    pass

waits = never.remote()
ray.get(slow.remote())
"""


class Shown:
    """A display that says when something is shown."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.dropped: list[str] = []
        self.is_shown = threading.Event()

    def show(self, bar: Bar) -> None:
        self.bars.append(bar)
        self.is_shown.set()

    def drop(self, key: str) -> None:
        self.dropped.append(key)


@pytest.fixture
def shown(ray: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    display = Shown()
    line = WaitingLine(display, lambda: "1 pending: no room", after_s=0.0, every_s=0.01)
    monkeypatch.setattr(waiting_line, "_line", line)
    yield display
    line.close()


@rayhpc.remote
def exists(path: Path) -> None:
    with open(path) as pipe:
        pipe.read()


def let_go(display: Shown, path: Path) -> threading.Thread:
    """End the task once the line has been seen."""

    def run() -> None:
        assert display.is_shown.wait(60)
        path.write_text("")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_get_shows_how_many_are_there_and_why_others_wait(shown: Shown, pipe: Path) -> None:
    there = [rayhpc.put(i) for i in range(3)]
    thread = let_go(shown, pipe)
    rayhpc.get([*there, exists.remote(pipe)])
    thread.join()
    bar = shown.bars[0]
    assert (bar.count, bar.total) == (3, 4)
    assert bar.line(100, bar.started + 5).startswith("waiting:  75%|")
    assert bar.line(150, bar.started + 5).endswith("1 pending: no room")
    assert shown.dropped == [bar.key]


def test_wait_shows_it_too_and_a_wait_that_fails_leaves_none(shown: Shown, pipe: Path) -> None:
    thread = let_go(shown, pipe)
    ready, _ = rayhpc.wait([exists.remote(pipe)])
    thread.join()
    assert len(ready) == 1
    assert len(shown.dropped) == 1
    shown.is_shown.clear()
    with pytest.raises(rayhpc.exceptions.GetTimeoutError):
        rayhpc.get(exists.options(num_cpus=0).remote(pipe), timeout=1.0)
    pipe.write_text("")
    assert waiting_line._line is not None
    assert waiting_line._line._waits == {}


def test_a_notebook_is_shown_words_of_the_program_as_text() -> None:
    bar = Bar("k", "waiting", 3, 4, "", 100.0, note="  1 pending: <img src=x>")
    shown = as_html(bar, 106.0)
    assert '<progress value="3" max="4"></progress> waiting 6 s: 3 of 4 ready, 0.5/s' in shown
    assert "1 pending: &lt;img src=x&gt;" in shown


def errors_of(environ: dict[str, str], *, at_terminal: bool) -> str:
    """What a program that waits writes to standard error."""
    ours, theirs = os.openpty() if at_terminal else os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stderr=theirs, env={**os.environ, **environ}
    ) as program:
        os.close(theirs)
        data = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # how a terminal says that nobody is at its other end
                break
            if not more:
                break
            data += more
    os.close(ours)
    assert program.returncode == 0, data.decode()
    return data.decode()


def test_a_terminal_shows_the_line_and_clears_it() -> None:
    said = errors_of({"COLUMNS": "150"}, at_terminal=True)
    assert "waiting:   0%|" in said
    assert "1 pending" in said
    assert said.rstrip().endswith("\x1b[J")


def test_nothing_is_shown_where_nobody_wants_it_or_looks() -> None:
    assert "waiting" not in errors_of({waiting_line.VARIABLE: "0"}, at_terminal=True)
    assert "waiting" not in errors_of({}, at_terminal=False)
