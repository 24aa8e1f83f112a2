"""What a page is told: everything at first, then changes, then the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from rayhpc.observe import facts
from rayhpc.observe.live.now import now
from rayhpc.observe.server.feed import Feed
from rayhpc.observe.views.everything import views
from tests.observe.generator import Made
from tests.observe.live.looks import look_of


def told(event: bytes) -> tuple[str, Any]:
    name, data = event.decode().strip().split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def next_of(stream: AsyncIterator[bytes]) -> tuple[str, Any]:
    return told(await asyncio.wait_for(anext(stream), 60))


def test_all_at_first_then_what_has_changed_then_the_end() -> None:
    made = Made()
    made.run("f", 0.0, 1.0)
    first = now(look_of(made))
    report = views(facts.snapshot(made.recording()))

    async def run() -> None:
        counts: list[int] = []
        feed = Feed(counts.append)
        feed.put(first, report)
        stream = feed.stream()
        name, data = await next_of(stream)
        assert (name, set(data["parts"])) == ("now", set(first.__struct_fields__))
        name, data = await next_of(stream)
        assert (name, data["parts"]["overview"]["tasks"]) == ("views", 1)
        # However much has happened while a page slept, it is told once.
        for count in range(5):
            feed.put(replace(first, actors_left_out=count), None)
        assert await next_of(stream) == ("now", {"parts": {"actors_left_out": 4}})
        feed.be_silent("no answer")
        assert await next_of(stream) == ("silent", "no answer")
        feed.put(replace(first, actors_left_out=5), None)
        assert await next_of(stream) == ("now", {"parts": {"actors_left_out": 5}})
        assert await next_of(stream) == ("silent", "")
        feed.end("the cluster ends")
        assert await next_of(stream) == ("ended", "the cluster ends")
        assert [x async for x in stream] == []
        assert counts == [1, 0]

    asyncio.run(run())


def test_a_server_that_ends_ends_its_streams() -> None:
    made = Made()
    made.run("f", 0.0, 1.0)

    async def run() -> list[bytes]:
        feed = Feed(lambda _: None)
        feed.put(now(look_of(made)), None)
        stream = feed.stream()
        assert (await next_of(stream))[0] == "now"
        rest = asyncio.ensure_future(_rest(stream))
        await asyncio.sleep(0)
        feed.close()
        return await asyncio.wait_for(rest, 60)

    assert asyncio.run(run()) == []


async def _rest(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [x async for x in stream]
