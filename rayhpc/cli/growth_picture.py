"""A cluster's nodes and what waited, over time, as a picture (SVG) or a trace.

Used by `timeline`.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rayhpc.wire.messages.elastic import Moment

_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 150, 56, 34
_GAP = 62
_NODES, _COMING, _WAITING, _TEXT, _LINE = "#2563a8", "#b9d3ee", "#c2571a", "#4a5058", "#d5d8dc"
_FONT = "font-family='sans-serif' font-size='12'"
# A page that shows the picture in the dark has no other way to change its colours.
_DARK = """<style>@media (prefers-color-scheme: dark) {
.paper { fill: #15181d } text { fill: #c8ced6 } .grid { stroke: #363c45 } .mark { stroke: #c8ced6 }
.up { fill: #5a9ae0 } .coming { fill: #2b4a6d } .waiting { fill: #e0854a }
}</style>"""
# Distances between marks of the axis of time, in seconds.
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
Figure = Callable[[Moment], int]


def trace(moments: Sequence[Moment]) -> list[dict[str, Any]]:
    """Counters in Chrome's trace format; times in microseconds."""
    return [
        {"name": name, "ph": "C", "ts": each.at * 1e6, "pid": "cluster", "args": args}
        for each in moments
        for name, args in (
            ("nodes", {"up": each.nodes, "coming": each.coming}),
            ("tasks", {"waiting": each.waiting}),
        )
    ]


def svg(moments: Sequence[Moment], until: float) -> str:
    """Two curves above each other: nodes, and tasks that wait.

    Args:
        moments: what there was, oldest first; at least one.
        until: where the picture ends, in seconds since 1970.
    """
    begin = moments[0].at
    width, height = _LEFT + _WIDTH + 24, _TOP + 2 * _HEIGHT + _GAP + 40
    up, coming = f"class='up' fill='{_NODES}'", f"class='coming' fill='{_COMING}'"
    waiting = f"class='waiting' fill='{_WAITING}'"
    scale = _Scale(begin, max(until, moments[-1].at + 1.0))
    upper, lower = _TOP, _TOP + _HEIGHT + _GAP
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' role='img'>",
        "<title>Nodes, and tasks that wait, over time</title>",
        _DARK,
        "<rect class='paper' width='100%' height='100%' fill='white'/>",
        *_panel(moments, scale, upper, "nodes", [(_all, coming), (_nodes, up)]),
        *_panel(moments, scale, lower, "tasks that wait", [(_waiting, waiting)]),
        f"<rect x='{_LEFT + 60}' y='{upper - 20}' width='12' height='12' {up}/>",
        _text(_LEFT + 78, upper - 10, "up, the head's included", "start"),
        f"<rect x='{_LEFT + 230}' y='{upper - 20}' width='12' height='12' {coming}/>",
        _text(_LEFT + 248, upper - 10, "asked for or starting", "start"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Scale:
    """From times to places."""

    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end

    def x(self, at: float) -> float:
        return _LEFT + _WIDTH * (at - self.begin) / (self.end - self.begin)

    def marks(self) -> Iterator[float]:
        length = self.end - self.begin
        step = next((each for each in _STEPS if length / each <= 10), length / 10)
        for number in range(int(length / step) + 1):
            yield number * step


def _panel(
    moments: Sequence[Moment],
    scale: _Scale,
    top: int,
    title: str,
    curves: Sequence[tuple[Figure, str]],
) -> Iterator[str]:
    most = max(1, *(figure(each) for figure, _ in curves for each in moments))
    bottom = top + _HEIGHT
    yield _text(_LEFT, top - 10, title, "start")
    for value in dict.fromkeys((0, most // 2, most)):
        y = bottom - _HEIGHT * value / most
        yield f"<path d='M{_LEFT} {y:.1f}h{_WIDTH}' class='grid' stroke='{_LINE}'/>"
        yield _text(_LEFT - 8, y + 4, str(value), "end")
    for mark in scale.marks():
        x = scale.x(scale.begin + mark)
        yield f"<path d='M{x:.1f} {bottom}v4' class='mark' stroke='{_TEXT}'/>"
        yield _text(x, bottom + 18, f"{mark:g} s", "middle")
    for figure, look in curves:
        yield f"<path d='{_steps(moments, scale, figure, most, bottom)}' {look}/>"


def _steps(moments: Sequence[Moment], scale: _Scale, figure: Figure, most: int, bottom: int) -> str:
    """The outline of a curve that keeps its value until it changes."""
    path = [f"M{_LEFT} {bottom}"]
    for each in moments:
        path.append(f"H{scale.x(each.at):.1f}V{bottom - _HEIGHT * figure(each) / most:.1f}")
    return "".join([*path, f"H{scale.x(scale.end):.1f}V{bottom}Z"])


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{_TEXT}' {_FONT}>{text}</text>"
    )


def _nodes(each: Moment) -> int:
    return each.nodes


def _all(each: Moment) -> int:
    return each.nodes + each.coming


def _waiting(each: Moment) -> int:
    return each.waiting
