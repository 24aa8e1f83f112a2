"""The application of `rayhpc top`: one table at a time, below the cluster's figures.

Used by the command.  A thread looks at the cluster through a `Source` and hands over what it has
found; the rest is drawing.  When the cluster has ended what was seen last stays, with a sentence;
if nothing was seen the application ends with the error.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.events import Key
from textual.widgets import Input, RichLog, Static

from rayhpc.cli.terminal import header
from rayhpc.cli.terminal.grid import Grid
from rayhpc.cli.terminal.tables import VIEWS, cells, plain
from rayhpc.exit_codes import LaunchError, NoAnswerError
from rayhpc.observe.live.now import Now

LOG_LINES = 1_000
_LOGS = len(VIEWS)
_NAMES = [*(x.name for x in VIEWS), "Logs"]
_KEYS = "1-6 views  Enter row  F1 help  F4 filter  F6 sort  I invert  Z stop  F10 quit"
_FASTEST_S, _SLOWEST_S = 0.25, 32.0
_HELP = """Keys of rayhpc top (as in htop)

  1 … 6, Tab, Shift+Tab   functions, nodes, actors, stores, pending, logs
  ↑ ↓ PgUp PgDn Home End  move
  F4  \\  or  /            show only rows (or log lines) with a text; Esc shows all
  F6  > and <             sort by the next or the previous column
  I                       the other way round
  P  T  N                 sort by rate or use, by time, by name or number
  Z  or  space            stop the picture, go on
  +  -                    look less often, more often
  Enter                   the whole row
  F1  h  ?                this
  F10  q                  leave; the cluster goes on

Any key closes this."""


class Source(Protocol):
    """Where the figures come from."""

    def look(self) -> Now:
        """What the cluster is and does now.

        Raises:
            NoAnswerError: it has not answered, and may again.
            LaunchError: it has ended.
        """

    def log_lines(self) -> list[str]:
        """The lines that have come to the nodes' logs since the last time."""

    def wait(self, seconds: float) -> None:
        """Let so much time go by.  Raises LaunchError if the cluster has ended."""

    def close(self) -> None:
        """Leave the cluster."""


class Top(App[LaunchError]):
    """The application.

    Args:
        source: makes what looks at the cluster, in the thread that will use it.
        every_s: how often to look, in seconds.
    """

    CSS = """
    Screen { layout: vertical; }
    #header { height: auto; }
    #tabs, #keys { height: 1; }
    #tabs, #keys { background: $panel; }
    #grid, #log { height: 1fr; scrollbar-size-horizontal: 1; }
    #log, #page, #filter { display: none; }
    #page { height: 1fr; padding: 1 2; overflow: auto; }
    #filter { height: 1; border: none; padding: 0; }
    """
    BINDINGS = [
        *(Binding(str(i + 1), f"view({i})", show=False) for i in range(len(_NAMES))),
        Binding("tab", "next(1)", priority=True),
        Binding("shift+tab", "next(-1)", priority=True),
        Binding("f4,backslash,slash,f3", "filter"),
        Binding("escape", "all", priority=True),
        Binding("f6,greater_than_sign,full_stop", "sort(1)"),
        Binding("less_than_sign,comma", "sort(-1)"),
        Binding("I", "turn"),
        Binding("P", "sort_first('rate,CPU,busy,in use,waiting')"),
        Binding("T", "sort_first('time')"),
        Binding("N", "sort_first('function,node,actor,why')"),
        Binding("Z,space", "hold"),
        Binding("plus", "slower"),
        Binding("minus", "faster"),
        Binding("f1,h,question_mark", "help"),
        Binding("f10,q,ctrl+c", "quit", priority=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, source: Callable[[], Source], every_s: float = 2.0) -> None:
        super().__init__()
        self._make = source
        self._every = every_s
        self._now: Now | None = None
        self._view = 0
        self._order = [(x.sorted_by, x.columns[x.sorted_by].is_number) for x in VIEWS]
        self._wanted = ""
        self._note = ""
        self._is_held = False
        self._is_over = threading.Event()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._header: list[Text] = []
        # A slow line is for figures, not for movements.
        self.animation_level = "none"

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield Static(id="header", markup=False)
        yield Static(id="tabs", markup=False)
        yield Grid()
        yield RichLog(id="log", max_lines=LOG_LINES, markup=False, highlight=False)
        yield Static(id="page", markup=False)
        yield Input(id="filter", placeholder="show only what contains …", select_on_focus=False)
        yield Static(Text(_KEYS, no_wrap=True), id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self._draw_tabs()
        self._note = "looking …"
        self.query_one(Grid).focus()
        threading.Thread(target=self._look, name="rayhpc-look", daemon=True).start()

    def on_unmount(self) -> None:
        """Look no more."""
        self._is_over.set()

    # -- looking, in a thread of its own ----------------------------------------------------------
    def _look(self) -> None:
        try:
            source = self._make()
            try:
                while not self._is_over.is_set():
                    self._look_once(source)
                    source.wait(self._every)
            finally:
                source.close()
        except LaunchError as error:
            self._tell(partial(self.end, error))

    def _look_once(self, source: Source) -> None:
        try:
            now = source.look()
            lines = source.log_lines() if self._view == _LOGS else []
        except NoAnswerError as error:
            words = f"{error}; this is what was seen last, until it does"
            self._tell(lambda: self.say(words))
            return
        self._tell(partial(self.take, now, lines))

    def _tell(self, what: Callable[[], None]) -> None:
        """Have it done by the thread that draws, unless that has gone."""
        if not self._is_over.is_set():
            self.call_later(what)

    def end(self, error: LaunchError) -> None:
        """There is nothing more to see; leave what was seen on the screen."""
        if self._now is None:
            self.exit(error)
        else:
            self.say(f"{error}; this is what was seen last (q leaves)")

    # -- drawing ----------------------------------------------------------------------------------
    def take(self, now: Now, lines: list[str]) -> None:
        """A look has found this."""
        self._lines.extend(lines)
        if self._is_held:
            return
        self._note = ""
        self._now = now
        for line in lines:
            self._write(line)
        self._draw()

    def say(self, note: str) -> None:
        """Something that the user should know; stays until the next look."""
        self._note = note
        self._draw()

    def _draw(self) -> None:
        if self._now is None:
            self.query_one("#header", Static).update(Text(plain(self._note)))
            return
        self._draw_header(self._now)
        if self._view != _LOGS:
            view, (by, descending) = VIEWS[self._view], self._order[self._view]
            rows = cells(view, self._now, by, descending, self._wanted)
            self.query_one(Grid).show(view, rows, by, descending)

    def _draw_header(self, now: Now) -> None:
        found = header.lines(now.cluster, self._note)
        if found != self._header:
            self._header = found
            self.query_one("#header", Static).update(Text("\n").join(found))

    def _draw_tabs(self) -> None:
        parts = [
            (f" {i + 1} {name} ", "reverse bold" if i == self._view else "")
            for i, name in enumerate(_NAMES)
        ]
        if self._wanted:
            parts.append((f"  only with “{plain(self._wanted)}”", "bold"))
        if self._is_held:
            parts.append(("  stopped (Z goes on)", "bold"))
        self.query_one("#tabs", Static).update(Text.assemble(*parts, no_wrap=True))

    def _write(self, line: str) -> None:
        if self._wanted.lower() in line.lower():
            self.query_one(RichLog).write(Text(plain(line)))

    # -- keys -------------------------------------------------------------------------------------
    def action_view(self, number: int) -> None:
        """Show another view."""
        self._view = number % len(_NAMES)
        is_log = self._view == _LOGS
        self.query_one("#grid").display = not is_log
        self.query_one("#log").display = is_log
        self.query_one("#log" if is_log else "#grid").focus()
        self._draw_tabs()
        self._draw()

    def action_next(self, by: int) -> None:
        """Show the next view."""
        self.action_view(self._view + by)

    def action_sort(self, by: int) -> None:
        """Sort by the next column."""
        if self._view != _LOGS:
            many = len(VIEWS[self._view].columns)
            self._sort((self._order[self._view][0] + by) % many)

    def action_sort_first(self, titles: str) -> None:
        """Sort by the first of these columns that there is."""
        if self._view == _LOGS:
            return
        names = [x.title for x in VIEWS[self._view].columns]
        for title in titles.split(","):
            if title in names:
                self._sort(names.index(title))
                return

    def _sort(self, column: int) -> None:
        self._order[self._view] = (column, VIEWS[self._view].columns[column].is_number)
        self._draw()

    def action_turn(self) -> None:
        """Sort the other way round."""
        if self._view != _LOGS:
            column, descending = self._order[self._view]
            self._order[self._view] = (column, not descending)
            self._draw()

    def action_hold(self) -> None:
        """Stop the picture, or go on."""
        self._is_held = not self._is_held
        self._draw_tabs()

    def action_slower(self) -> None:
        """Look less often."""
        self._pace(2.0)

    def action_faster(self) -> None:
        """Look more often."""
        self._pace(0.5)

    def _pace(self, factor: float) -> None:
        self._every = min(_SLOWEST_S, max(_FASTEST_S, self._every * factor))
        self.say(f"every {self._every:g} s")

    def action_filter(self) -> None:
        """Ask for the text that rows must contain."""
        box = self.query_one(Input)
        box.value = self._wanted
        box.display = True
        box.focus()

    def action_all(self) -> None:
        """Close what is open; show all rows."""
        if self.query_one("#page").display:
            self._close_page()
            return
        box = self.query_one(Input)
        box.display = False
        box.value = ""
        self._filter("")
        self.action_view(self._view)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Rows follow the text as it is typed."""
        if self.query_one(Input).display:
            self._filter(event.value)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """The text stands."""
        self.query_one(Input).display = False
        self.action_view(self._view)

    def _filter(self, wanted: str) -> None:
        if wanted == self._wanted:
            return
        self._wanted = wanted
        log = self.query_one(RichLog)
        log.clear()
        for line in self._lines:
            self._write(line)
        self._draw_tabs()
        self._draw()

    def action_help(self) -> None:
        """The keys."""
        self._open_page(_HELP)

    def on_data_table_row_selected(self, _: object) -> None:
        """The whole row, where cells were too narrow for it."""
        found = self.query_one(Grid).chosen()
        titles = [x.title for x in VIEWS[self._view].columns]
        rows = [f"{title:>16}  {text}" for title, text in zip(titles, found, strict=False)]
        self._open_page("\n".join(rows))

    def on_key(self, event: Key) -> None:
        """Any key closes an open page."""
        if self.query_one("#page").display:
            event.stop()
            event.prevent_default()
            self._close_page()

    def _open_page(self, text: str) -> None:
        self.query_one("#page", Static).update(Text(text))
        self.query_one("#page").display = True
        self.query_one("#grid").display = self.query_one("#log").display = False
        self.set_focus(None)

    def _close_page(self) -> None:
        self.query_one("#page").display = False
        self.action_view(self._view)
