"""Cancelling: what runs, what waits, what depends on it, what it has submitted."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from tests.api.actors.counter import wait_for


@rayhpc.remote(max_retries=0)
def spin(marks: str, seconds: float = 30) -> str:
    Path(marks, f"started-{os.getpid()}").touch()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            time.sleep(0.01)
    except KeyboardInterrupt:
        Path(marks, "interrupted").touch()
        raise
    return "ended"


@rayhpc.remote
def identity(x: Any) -> Any:
    return x


def _cancelled(ref: Any) -> None:
    with pytest.raises(exceptions.TaskCancelledError):
        rayhpc.get(ref, timeout=20)


def test_running_code_is_interrupted_and_dependents_fail(ray: Any, tmp_path: Path) -> None:
    ref = spin.remote(str(tmp_path))
    dependent = identity.remote(ref)
    wait_for(lambda: bool(os.listdir(tmp_path)))
    ray.cancel(ref)
    _cancelled(ref)
    _cancelled(dependent)
    wait_for(lambda: (tmp_path / "interrupted").exists())
    # As in Ray: it is an error of the code that was interrupted.
    with pytest.raises(exceptions.RayTaskError, match=r"spin\(\)[^$]*was cancelled"):
        ray.get(ref)


def test_the_error_of_a_cancelled_generator_is_its_last_item(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def items() -> Any:
        yield 1
        time.sleep(30)
        yield 2

    made = items.remote()
    assert ray.get(next(made), timeout=20) == 1
    ray.cancel(made)
    last = next(made)
    for kind in (exceptions.RayTaskError, exceptions.TaskCancelledError):
        with pytest.raises(kind, match="was cancelled"):
            ray.get(last, timeout=20)
    with pytest.raises(StopIteration):
        next(made)


def test_a_queued_task_never_starts(ray: Any, tmp_path: Path) -> None:
    hold = [spin.options(num_cpus=4).remote(str(tmp_path), 0.4)]
    queued = [spin.options(num_cpus=4).remote(str(tmp_path), 0) for _ in range(3)]
    wait_for(lambda: bool(os.listdir(tmp_path)))
    for ref in queued:
        ray.cancel(ref)
    for ref in queued:
        _cancelled(ref)
    ray.get(hold, timeout=20)
    assert len(os.listdir(tmp_path)) == 1


def test_a_task_that_waits_for_its_arguments(ray: Any, tmp_path: Path) -> None:
    slow = spin.remote(str(tmp_path))
    waiting = identity.remote(slow)
    ray.cancel(waiting)
    _cancelled(waiting)
    ray.cancel(slow)


class _SlowToLoad:
    def __reduce__(self) -> Any:
        return _load_slowly, ()


def _load_slowly() -> str:
    for _ in range(3000):
        time.sleep(0.01)
    return "loaded"


def test_while_arguments_are_deserialised(ray: Any) -> None:
    ref = identity.options(max_retries=0).remote(_SlowToLoad())
    assert ray.wait([ref], timeout=0.5)[0] == []
    ray.cancel(ref)
    _cancelled(ref)


def test_a_task_blocked_in_get(ray: Any, tmp_path: Path) -> None:
    @ray.remote(max_retries=0)
    def block(refs: list[Any]) -> Any:
        return rayhpc.get(refs[0])

    slow = spin.remote(str(tmp_path))
    blocked = block.remote([slow])
    wait_for(lambda: bool(os.listdir(tmp_path)))
    ray.cancel(blocked)
    _cancelled(blocked)
    ray.cancel(slow)


def test_children_are_cancelled_too(ray: Any, tmp_path: Path) -> None:
    @ray.remote(max_retries=0)
    def parent(marks: str) -> Any:
        return rayhpc.get(spin.remote(marks))

    ref = parent.remote(str(tmp_path))
    wait_for(lambda: bool(os.listdir(tmp_path)))
    ray.cancel(ref, recursive=True)
    _cancelled(ref)
    wait_for(lambda: (tmp_path / "interrupted").exists())


def test_a_borrower_cancels(ray: Any, tmp_path: Path) -> None:
    @ray.remote
    def cancel(refs: list[Any]) -> None:
        rayhpc.cancel(refs[0])

    ref = spin.remote(str(tmp_path))
    wait_for(lambda: bool(os.listdir(tmp_path)))
    ray.get(cancel.remote([ref]), timeout=20)
    _cancelled(ref)


def test_force_ends_the_process(ray: Any, tmp_path: Path) -> None:
    @ray.remote
    def stubborn(marks: str) -> None:
        Path(marks, "started").touch()
        while True:
            try:
                time.sleep(10)
            except KeyboardInterrupt:
                pass

    ref = stubborn.remote(str(tmp_path))
    wait_for(lambda: bool(os.listdir(tmp_path)))
    ray.cancel(ref, force=True)
    with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
        ray.get(ref, timeout=20)


def test_what_has_ended_stays(ray: Any) -> None:
    ref = identity.remote(5)
    assert ray.get(ref, timeout=20) == 5
    ray.cancel(ref)
    assert ray.get(ref, timeout=20) == 5


def test_a_generator_is_cancelled(ray: Any) -> None:
    @ray.remote
    def yields() -> Any:
        yield 1
        time.sleep(30)
        yield 2

    items = yields.remote()
    assert ray.get(next(items), timeout=20) == 1
    ray.cancel(items)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(next(items), timeout=20)


@rayhpc.remote
class Sleeper:
    def __init__(self) -> None:
        self.cancelled = False

    async def sleep(self) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def was_cancelled(self) -> bool:
        return self.cancelled


def test_an_asynchronous_method_gets_cancelled_error_and_the_actor_goes_on(ray: Any) -> None:
    sleeper = Sleeper.remote()
    ray.get(sleeper.was_cancelled.remote(), timeout=20)
    ref = sleeper.sleep.remote()
    assert ray.wait([ref], timeout=0.2)[0] == []
    ray.cancel(ref)
    _cancelled(ref)
    assert ray.get(sleeper.was_cancelled.remote(), timeout=20) is True


def test_calls_of_a_cancelled_task_are_cancelled(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def parent(handles: list[Any]) -> None:
        rayhpc.get(handles[0].sleep.remote())

    sleeper = Sleeper.remote()
    # A call that its actor has not got when it is cancelled never starts.
    ray.get(sleeper.was_cancelled.remote(), timeout=20)
    ref = parent.remote([sleeper])
    assert ray.wait([ref], timeout=0.5)[0] == []
    ray.cancel(ref)
    _cancelled(ref)
    wait_for(lambda: bool(ray.get(sleeper.was_cancelled.remote(), timeout=20)))


def test_a_queued_call_never_runs(ray: Any) -> None:
    @ray.remote
    class Plain:
        def __init__(self) -> None:
            self.runs = 0

        def nap(self) -> int:
            self.runs += 1
            time.sleep(0.3)
            return self.runs

    plain = Plain.remote()
    first, second = plain.nap.remote(), plain.nap.remote()
    ray.wait([first], timeout=0.1)
    ray.cancel(second)
    _cancelled(second)
    assert ray.get(first, timeout=20) == 1
    assert ray.get(plain.nap.remote(), timeout=20) == 2


def test_what_cancel_refuses(ray: Any) -> None:
    sleeper = Sleeper.remote()
    with pytest.raises(TypeError, match="kill"):
        ray.cancel(sleeper)
    call = sleeper.sleep.remote()
    with pytest.raises(ValueError, match="force=True"):
        ray.cancel(call, force=True)
    ray.cancel(call)
