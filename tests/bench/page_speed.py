"""How fast a report's page answers: `python -m tests.bench.page_speed [TASKS [NODES]]`.

Prints one row for each thing that a reader does: the longest time in milliseconds from the key or
click until the picture is there.  Needs Chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rayhpc.observe import facts
from rayhpc.observe.page import page
from rayhpc.observe.views.everything import views
from tests.observe.browser import Browser
from tests.observe.generator import large

_TIMED = """
(async () => {
  const times = [];
  for (let i = 0; i < 8; i++) {
    const began = performance.now();
    %s;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - began);
  }
  return Math.max(...times);
})()
"""
_KEY = (
    "document.querySelector('#timeline canvas')"
    ".dispatchEvent(new KeyboardEvent('keydown', {key: '%s', bubbles: true}))"
)
_MOVE = (
    "document.querySelector('#timeline canvas').dispatchEvent(new PointerEvent('pointermove', "
    "{clientX: 300 + 40 * i, clientY: 300, bubbles: true}))"
)
_ROWS = "document.querySelectorAll('#timeline .choice button')[i % 2 ? 0 : 1].click()"
_SORT = "document.querySelectorAll('#functions th button')[i % 3].click()"
ACTIONS = {
    "zoom in": _KEY % "+",
    "move": _KEY % "ArrowRight",
    "zoom out": _KEY % "-",
    "point at": _MOVE,
    "nodes, workers": _ROWS,
    "sort a table": _SORT,
    "theme": "document.querySelector('header button').click()",
}


def main(tasks: int = 1_000_000, nodes: int = 100) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        path = Path(folder, "report.html")
        path.write_text(page(views(facts.snapshot(large(tasks, nodes)))))
        browser.go(path.as_uri())
        browser.wait_for("document.querySelector('#timeline canvas')")
        browser.wait_for("document.querySelector('#timeline canvas').width > 300")
        for name, action in ACTIONS.items():
            print(f"{name:16}{browser.value(_TIMED.replace('%s', action)):8.1f} ms", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
