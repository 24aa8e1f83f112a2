"""`rayhpc top` in Textual's own pilot: views, keys, and names that would be markup or orders."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from rayhpc.exit_codes import LaunchError, NoAnswerError
from rayhpc.observe.live.now import Now, now
from rayhpc.wire.messages.common import UNIT
from rayhpc.wire.messages.listings import ClusterState
from tests.observe.generator import BEGIN, Made
from tests.observe.live.looks import actor_row, look_of

pytest.importorskip("textual")

from rayhpc.cli.terminal.grid import Grid
from rayhpc.cli.terminal.screen import Top

MARKUP = "[bold red]x[/bold red] [/] <b> \x1b[2J\x1b]0;title\x07 {}%s"


class Source:
    """A cluster as the test says."""

    def __init__(self, found: Now, lines: list[str] | None = None) -> None:
        self.found, self.lines = found, lines or []
        self.end = self.silence = ""

    def look(self) -> Now:
        if self.end:
            raise LaunchError(self.end)
        if self.silence:
            raise NoAnswerError(self.silence)
        return self.found

    def log_lines(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    def wait(self, seconds: float) -> None:
        threading.Event().wait(0.01)

    def close(self) -> None:
        return


def seen(name: str = "train", **more: Any) -> Now:
    """A small cluster, everything in it named like this."""
    made = Made(nodes=2, cpus=4, names=[name, "n001"])
    made.command = [name]
    for i in range(9):
        made.run(name, i * 1.0, 1.0, error=name if i == 8 else "")
    made.run("short", 0.0, 0.001)
    made.nodes[1] = replace(made.nodes[1], alive=False, ended=name)
    actor = actor_row(b"a" * 16, name, name=name, reason=name)
    state = ClusterState(
        "c" * 32, BEGIN, made.nodes, {}, {}, 1, [({"CPU": 8 * UNIT, name: 1}, 3, name)], 1, name
    )
    return now(look_of(made, [actor], state=state, **more))


def in_top(source: Source, look: Callable[[Top, Any], Awaitable[None]], columns: int = 120) -> None:
    """Run the application at a terminal, with no thread of its own."""

    async def run() -> None:
        app = Top(lambda: source)
        app._look = lambda: None  # type: ignore[method-assign]
        async with app.run_test(size=(columns, 30)) as pilot:
            app.take(source.found, source.log_lines())
            await pilot.pause()
            await look(app, pilot)

    asyncio.run(run())


def picture(app: Top) -> str:
    """What is on the screen, line by line."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def test_each_view_has_its_rows_and_keys_lead_to_them() -> None:
    async def look(app: Top, pilot: Any) -> None:
        assert "train" in picture(app)
        assert "cluster 127.0.0.1:1, 1 node, 1 gone" in picture(app)
        wanted = {"2": "gone: train", "3": "alive", "4": "0%", "5": "8 CPU"}
        for key, text in wanted.items():
            await pilot.press(key)
            await pilot.pause()
            assert text in picture(app), key
        await pilot.press("tab")
        await pilot.pause()
        assert "node.log says" in picture(app)

    in_top(Source(seen(), ["n000 node.log says"]), look)


def test_sorting_filtering_and_the_whole_row() -> None:
    async def look(app: Top, pilot: Any) -> None:
        grid = app.query_one(Grid)
        await pilot.press("T")
        await pilot.pause()
        assert [row[0] for row in grid._shown] == ["train", "short"]
        await pilot.press("I")
        await pilot.pause()
        assert [row[0] for row in grid._shown] == ["short", "train"]
        await pilot.press("f4", "t", "r", "a", "enter")
        await pilot.pause()
        assert [row[0] for row in grid._shown] == ["train"]
        assert "only with “tra”" in picture(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "function  train" in picture(app)
        await pilot.press("x")
        await pilot.press("escape")
        await pilot.pause()
        assert len(grid._shown) == 2
        await pilot.press("question_mark")
        await pilot.pause()
        assert "Keys of rayhpc top" in picture(app)

    in_top(Source(seen()), look)


def test_the_keys_fit_a_terminal_of_80_columns() -> None:
    async def look(app: Top, pilot: Any) -> None:
        await pilot.press("5")
        await pilot.pause()
        assert "1-6 views  Enter row  F1 help" in picture(app)
        assert "F10 quit" in picture(app)

    in_top(Source(seen()), look, columns=80)


def test_only_cells_that_differ_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    plain = Grid.update_cell_at
    monkeypatch.setattr(
        Grid, "update_cell_at", lambda self, at, value: (drawn.append(at), plain(self, at, value))
    )

    async def look(app: Top, pilot: Any) -> None:
        drawn.clear()
        app.take(seen(), [])
        await pilot.pause()
        assert drawn == []
        (first, second) = seen().functions
        app.take(replace(seen(), functions=[replace(first, count=10), second]), [])
        await pilot.pause()
        assert len(drawn) == 1

    in_top(Source(seen()), look)


def test_a_picture_that_is_stopped_stays() -> None:
    async def look(app: Top, pilot: Any) -> None:
        await pilot.press("Z")
        app.take(seen("other"), [])
        await pilot.pause()
        assert "other" not in picture(app)
        assert "stopped" in picture(app)

    in_top(Source(seen()), look)


def test_names_are_text_and_never_markup_or_orders_to_the_terminal() -> None:
    async def look(app: Top, pilot: Any) -> None:
        for key in "123456":
            await pilot.press(key)
            await pilot.pause()
            shown = picture(app)
            assert "[bold red]x[/bold red]" in shown, key
            assert not {"\x1b", "\x07"} & set(shown), key
        await pilot.press("1", "enter")
        await pilot.pause()
        assert "[bold red]x[/bold red]" in picture(app)

    in_top(Source(seen(MARKUP), [MARKUP]), look)


def test_a_head_that_does_not_answer_is_waited_for() -> None:
    async def run() -> None:
        source = Source(seen())
        app = Top(lambda: source)
        async with app.run_test(size=(120, 30)) as pilot:
            while "train" not in picture(app):
                await pilot.pause()
            source.silence = "no answer"
            while "no answer" not in picture(app):
                await pilot.pause()
            assert "train" in picture(app)
            source.silence, source.found = "", seen("after")
            while "after" not in picture(app):
                await pilot.pause()
            assert "no answer" not in picture(app)
            await pilot.press("q")

    asyncio.run(run())


def test_a_cluster_that_cannot_be_seen_ends_it_with_the_reason() -> None:
    async def run() -> None:
        app = Top(refused)
        async with app.run_test():
            while app.return_value is None:
                await asyncio.sleep(0.01)
        assert str(app.return_value) == "not yours"

    def refused() -> Source:
        raise LaunchError("not yours")

    asyncio.run(run())


def test_the_end_of_the_cluster_is_said_and_what_was_seen_stays() -> None:
    async def run() -> None:
        source = Source(seen())
        app = Top(lambda: source)
        async with app.run_test(size=(120, 30)) as pilot:
            while "train" not in picture(app):
                await pilot.pause()
            source.end = "the cluster ends: no more time"
            while "no more time" not in picture(app):
                await pilot.pause()
            assert "train" in picture(app)
            await pilot.press("q")

    asyncio.run(run())
