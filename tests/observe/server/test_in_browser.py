"""The page in a real browser: every view is there, names stay text, and the end is said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from rayhpc.observe import facts
from rayhpc.observe.live.now import Now, now
from rayhpc.observe.server import serving
from rayhpc.observe.server.door import Door
from rayhpc.observe.server.feed import Feed
from rayhpc.observe.server.pages import application
from rayhpc.observe.views.everything import views
from rayhpc.observe.views.one import function_page
from rayhpc.wire.messages.listings import ClusterState
from tests.observe import browser
from tests.observe.generator import BEGIN, Made
from tests.observe.live.looks import actor_row, look_of

MARKUP = "<img src=x onerror=alert(1)></script><b>%s"
SECTIONS = ("Functions", "Nodes", "Pending", "Actors", "Programs", "Logs", "Where workers are")


def made_of_markup() -> Made:
    made = Made(nodes=2, names=[MARKUP, MARKUP + "2"])
    made.command = [MARKUP]
    made.tracebacks[MARKUP] = MARKUP
    for i in range(12):
        made.run(MARKUP, i * 1.0, 1.0, error=MARKUP if i == 5 else "", actor=b"a" * 16)
    made.nodes[1] = replace(made.nodes[1], alive=False, ended=MARKUP)
    return made


def seen(made: Made) -> Now:
    demand = [({MARKUP: 1}, 3, MARKUP)]
    state = ClusterState("c" * 32, BEGIN, made.nodes, {}, {}, 1, demand, 1, MARKUP)
    actor = actor_row(b"a" * 16, MARKUP, name=MARKUP, reason=MARKUP)
    return now(look_of(made, [actor], state=state))


class Looker:
    """Answers with markup, whatever is asked."""

    def __init__(self, made: Made) -> None:
        self._made = made

    async def log(self, text: str, most: int) -> Any:
        return [{"node": MARKUP, "text": MARKUP}]

    async def workers(self, node: int) -> Any:
        return [{"pid": 7, "kind": "worker", "state": MARKUP, "actor": "", "address": "1"}]

    async def stacks(self, address: int) -> Any:
        return {"threads": [{"name": "MainThread", "frames": MARKUP}]}

    async def function(self, name: str) -> Any:
        return function_page(facts.snapshot(self._made.recording()), name)

    async def actor(self, actor: str) -> Any:
        return None


class Served:
    """A dashboard in a thread of this process."""

    def __init__(self, made: Made) -> None:
        self.link = ""
        self.feed: Feed | None = None
        self._made = made
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._is_ready.wait(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        door, feed = Door(), Feed(lambda count: None)
        feed.put(seen(self._made), views(facts.snapshot(self._made.recording())))
        sock = serving.listener(0, None)
        self.feed = feed
        self.link = f"http://localhost:{sock.getsockname()[1]}/?token={door.new_link()}"
        self.server = serving.server(application(door, feed, Looker(self._made)), feed.close)
        self._is_ready.set()
        await self.server.serve(sockets=[sock])

    def end(self, reason: str) -> None:
        assert self.feed is not None
        self._loop.call_soon_threadsafe(self.feed.end, reason)

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(30)


@contextmanager
def served(made: Made) -> Iterator[Served]:
    found = Served(made)
    try:
        yield found
    finally:
        found.close()


def test_every_view_is_there_names_are_text_and_the_end_is_said() -> None:
    if browser.program() is None:
        pytest.skip("no Chromium on this machine")
    with served(made_of_markup()) as dashboard, browser.Browser() as page:
        page.go(dashboard.link)
        page.wait_for("document.querySelector('#timeline')")
        assert page.value("location.search") == ""
        headings = [name for role, name in page.names() if role == "heading"]
        assert set(SECTIONS) <= set(headings)
        page.value("document.querySelector('#logs button').click()")
        page.wait_for("document.querySelector('#logs pre')")
        page.value("document.querySelector('#workers button').click()")
        page.wait_for("document.querySelector('.workers button')")
        page.value("document.querySelector('.workers button').click()")
        page.wait_for("document.querySelector('#workers details')")
        _is_text(page, 15)
        page.value("document.querySelector('#functions-now a').click()")
        page.wait_for("document.body.innerText.includes('Latest runs')")
        _is_text(page, 10)
        dashboard.end(MARKUP)
        page.wait_for("document.querySelector('.banner')")
        _is_text(page, 1)


def _is_text(page: browser.Browser, least: int) -> None:
    """Markup is shown as it was written, often, and nothing was made of it."""
    assert page.value("document.querySelectorAll('img').length") == 0
    assert page.value("document.querySelectorAll('script').length") == 1
    shown = page.value("document.body.innerText")
    assert shown.count("<img src=x onerror=alert(1)></script><b>%s") >= least
