"""A table on a terminal that redraws only the cells that have changed.

Used by `screen`.  Rows are places, as in htop: row 3 is whatever comes third, so that a table in
which nothing has changed sends nothing over a slow line.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from rayhpc.cli.terminal.tables import View


class Grid(DataTable[Text]):
    """The cells of one view at a time."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, id="grid")
        self._shown: list[list[str]] = []
        self._looks: tuple[View, list[str], int] | None = None

    def show(self, view: View, rows: list[list[str]], sorted_by: int, descending: bool) -> None:
        """Show these rows."""
        titles = [_title(x.title, i == sorted_by, descending) for i, x in enumerate(view.columns)]
        looks = (view, titles, self.size.width)
        if looks != self._looks:
            self._looks = looks
            self._begin(view, titles)
        self._fit(len(rows), view)
        for i, (old, new) in enumerate(zip(self._shown, rows, strict=True)):
            for j, text in enumerate(new):
                if old[j] != text:
                    cell = _cell(text, view.columns[j].is_number)
                    self.update_cell_at(Coordinate(i, j), cell)
        self._shown = [list(row) for row in rows]

    def chosen(self) -> Sequence[str]:
        """The cells of the row under the cursor; none if the table is empty."""
        return self._shown[self.cursor_row] if self.cursor_row < len(self._shown) else ()

    def _begin(self, view: View, titles: list[str]) -> None:
        """Empty, with the columns of a view."""
        self.clear(columns=True)
        self._shown = []
        widths = [x.width for x in view.columns]
        room = self.size.width - sum(x + 2 * self.cell_padding for x in widths) - 2
        widths[0] += max(0, room)
        for title, column, width in zip(titles, view.columns, widths, strict=True):
            self.add_column(_cell(title, column.is_number), width=width)

    def _fit(self, count: int, view: View) -> None:
        while len(self._shown) > count:
            self._shown.pop()
            self.remove_row(str(len(self._shown)))
        while len(self._shown) < count:
            cells = [Text("", no_wrap=True)] * len(view.columns)
            self.add_row(*cells, key=str(len(self._shown)))
            self._shown.append([""] * len(view.columns))


def _title(title: str, is_sorted: bool, descending: bool) -> str:
    return f"{title}{'▼' if descending else '▲'}" if is_sorted else title


def _cell(text: str, is_number: bool) -> Text:
    # A Text, never a string: strings are read as markup.
    return Text(text, justify="right" if is_number else "left", no_wrap=True)
