"""What fails is shown although the program has dropped its references unread."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from rayhpc.runtime.process import unhandled


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[BaseException]:
    """The errors that are shown."""
    found: queue.Queue[BaseException] = queue.Queue()
    monkeypatch.setattr(unhandled, "handler", found.put)
    return found


def fail(text: str) -> None:
    """A task that fails."""
    raise ValueError(text)


class Failing:
    """An actor that fails."""

    def fail(self, text: str) -> None:
        raise ValueError(text)

    async def fail_async(self, text: str) -> None:
        raise ValueError(text)


def items(text: str) -> Iterator[int]:
    """A generator that fails after an item."""
    yield 1
    raise ValueError(text)


def test_dropped_errors_are_shown(ray: Any, shown: queue.Queue[BaseException]) -> None:
    actor = ray.remote(Failing).remote()
    drops = {
        "task": ray.remote(fail),
        "method": actor.fail,
        "async method": actor.fail_async,
        "generator": ray.remote(items),
    }
    for text, function in drops.items():
        function.remote(text)
        assert text in str(shown.get(timeout=30))


def test_errors_that_were_looked_at_are_not_shown(
    ray: Any, shown: queue.Queue[BaseException]
) -> None:
    function = ray.remote(fail)

    async def wait_for_it() -> None:
        with pytest.raises(ValueError, match="awaited"):
            await function.remote("awaited")

    with pytest.raises(ValueError, match="got"):
        ray.get([function.remote("got"), function.remote("got with it")])
    ray.wait([function.remote("waited for")], timeout=30)
    asyncio.run(wait_for_it())
    with pytest.raises(ValueError, match="argument"):
        ray.get(ray.remote(id).remote(function.remote("argument")))
    function.remote("dropped")
    assert "dropped" in str(shown.get(timeout=30))
    assert shown.empty()


def test_a_variable_turns_it_off_and_many_are_cut(
    ray: Any, shown: queue.Queue[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    @ray.remote
    def often() -> None:
        raise ValueError("often")

    monkeypatch.setenv("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    ray.wait([ray.remote(id).remote(0)], timeout=30)
    ref = often.remote()
    ready = ray.remote(id).remote(0)
    del ref
    ray.get(ready)
    monkeypatch.delenv("RAY_IGNORE_UNHANDLED_ERRORS")
    for _ in range(10):
        often.remote()
        shown.get(timeout=30)
    often.remote()
    ray.remote(fail).remote("the last")
    assert "the last" in str(shown.get(timeout=30))
