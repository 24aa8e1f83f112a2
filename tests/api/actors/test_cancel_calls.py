"""Cancelling calls of actors: what runs is not interrupted, what has not started never starts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from tests.api.actors.counter import wait_for


class _Ledger:
    """Money that is moved; torn if a method is interrupted."""

    def __init__(self) -> None:
        self.a, self.b = 100, 0
        self.moves = 0

    def move(self, seconds: float = 0.5) -> str:
        self.moves += 1
        self.a -= 50
        time.sleep(seconds)
        self.b += 50
        return "done"

    def move_until(self, go: str) -> str:
        """A move that says by `go`.begun that it has begun, and ends when `go` is there."""
        Path(f"{go}.begun").touch()
        while not Path(go).exists():
            time.sleep(0.005)
        return self.move(0.0)

    def total(self) -> tuple[int, int]:
        return self.a + self.b, self.moves

    def asks(self) -> bool:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if rayhpc.get_runtime_context().is_canceled():
                self.moves = -1
                return True
            time.sleep(0.005)
        return False

    def items(self, count: int) -> Any:
        for i in range(count):
            time.sleep(0.01)
            yield i
        self.moves += 1


@pytest.fixture(params=[1, 2], ids=["one at a time", "threads"])
def ledger(place: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    options = {"max_concurrency": request.param, "num_cpus": 0, **place}
    actor = rayhpc.remote(_Ledger).options(**options).remote()
    rayhpc.get(actor.total.remote(), timeout=20)
    return actor


def _cancelled(ref: Any) -> None:
    with pytest.raises(exceptions.TaskCancelledError):
        rayhpc.get(ref, timeout=20)


def test_a_running_method_goes_on_and_its_caller_gets_the_error(ledger: Any) -> None:
    ref = ledger.move.remote()
    assert rayhpc.wait([ref], timeout=0.2)[0] == []
    rayhpc.cancel(ref)
    _cancelled(ref)
    assert rayhpc.get(ledger.total.remote(), timeout=20) == (100, 1)


def test_so_does_one_that_a_cancelled_task_has_called(ledger: Any, place: dict[str, Any]) -> None:
    @rayhpc.remote(num_cpus=0.1, **place)
    def task(actors: list[Any]) -> Any:
        call = actors[0].move.remote(3.0)
        rayhpc.get(signal.send.remote())
        return rayhpc.get(call)

    signal = Signal.options(**place).remote()
    ref = task.remote([ledger])
    rayhpc.get(signal.wait.remote(), timeout=20)
    assert rayhpc.wait([ref], timeout=0.3)[0] == []
    rayhpc.cancel(ref, recursive=True)
    _cancelled(ref)
    end = time.monotonic() + 60
    while rayhpc.get(ledger.total.remote(), timeout=20) != (100, 1):
        assert time.monotonic() < end


def test_it_can_ask(ledger: Any) -> None:
    ref = ledger.asks.remote()
    assert rayhpc.wait([ref], timeout=0.2)[0] == []
    rayhpc.cancel(ref)
    _cancelled(ref)
    assert rayhpc.get(ledger.total.remote(), timeout=20) == (100, -1)


def test_what_has_not_started_never_does(ledger: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"
    running = [ledger.move_until.remote(str(go)) for _ in range(2)]
    waiting = [ledger.move.remote(0.0) for _ in range(5)]
    wait_for((tmp_path / "go.begun").exists)
    for ref in waiting:
        rayhpc.cancel(ref)
    for ref in waiting:
        _cancelled(ref)
    go.touch()
    assert rayhpc.get(running, timeout=20) == ["done"] * 2
    assert rayhpc.get(ledger.total.remote(), timeout=20) == (100, 2)


@rayhpc.remote(num_cpus=0)
class Signal:
    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def send(self) -> None:
        self.event.set()

    async def wait(self) -> None:
        await self.event.wait()


class _Async:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def sleep(self, seconds: float) -> None:
        try:
            self.seen.append("started")
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def what(self) -> list[str]:
        return self.seen


def test_a_coroutine_is_cancelled_in_its_loop_also_before_it_starts(
    place: dict[str, Any],
) -> None:
    actor = rayhpc.remote(_Async).options(max_concurrency=1, **place).remote()
    assert rayhpc.get(actor.what.remote(), timeout=20) == []
    first, second = actor.sleep.remote(30), actor.sleep.remote(30)
    assert rayhpc.wait([first], timeout=0.3)[0] == []
    rayhpc.cancel(second)
    _cancelled(second)
    rayhpc.cancel(first)
    _cancelled(first)
    assert rayhpc.get(actor.what.remote(), timeout=20) == ["started", "cancelled"]
