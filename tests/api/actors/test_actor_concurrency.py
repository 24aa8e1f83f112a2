"""Threaded and asynchronous actors, and concurrency groups."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import rayhpc


class _Meeting:
    """Counts how many calls are inside at the same time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0

    def enter(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1


@rayhpc.remote
class Threaded:
    def __init__(self) -> None:
        self.meeting = _Meeting()
        self.barrier = threading.Barrier(3)

    def meet(self) -> int:
        return self.barrier.wait(60)

    def stay(self, seconds: float) -> None:
        self.meeting.enter()
        time.sleep(seconds)
        self.meeting.leave()

    def most(self) -> int:
        return self.meeting.most


@rayhpc.remote
class Asynchronous:
    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def wait(self) -> str:
        await self.event.wait()
        return "woken"

    async def wake(self) -> None:
        self.event.set()

    async def stay(self, seconds: float) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(seconds)
        self.inside -= 1
        return self.most

    async def loop(self) -> tuple[int, int]:
        return id(asyncio.get_running_loop()), threading.get_ident()

    async def of_reference(self, refs: list[Any]) -> Any:
        return await refs[0]

    async def blocking(self, refs: list[Any]) -> Any:
        return rayhpc.get(refs[0])

    async def fail(self) -> None:
        raise KeyError("failed")

    async def items(self, n: int) -> Any:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    def plain(self) -> str:
        return "plain"


def test_threads_meet(ray: Any) -> None:
    threaded = Threaded.options(max_concurrency=3).remote()
    assert sorted(ray.get([threaded.meet.remote() for _ in range(3)], timeout=20)) == [0, 1, 2]


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_at_a_time_than_allowed(ray: Any, limit: int) -> None:
    threaded = Threaded.options(max_concurrency=limit).remote()
    ray.get([threaded.stay.remote(0.05) for _ in range(6)], timeout=20)
    assert ray.get(threaded.most.remote(), timeout=20) == limit


def test_asynchronous_calls_run_beside_each_other(ray: Any) -> None:
    actor = Asynchronous.remote()
    waiting = [actor.wait.remote() for _ in range(50)]
    actor.wake.remote()
    assert ray.get(waiting, timeout=20) == ["woken"] * 50
    assert ray.get(actor.plain.remote(), timeout=20) == "plain"
    with pytest.raises(KeyError):
        ray.get(actor.fail.remote(), timeout=20)


def test_asynchronous_calls_have_one_loop_and_a_limit(ray: Any) -> None:
    actor = Asynchronous.options(max_concurrency=3).remote()
    assert len(set(ray.get([actor.loop.remote() for _ in range(5)], timeout=20))) == 1
    assert max(ray.get([actor.stay.remote(0.03) for _ in range(9)], timeout=20)) == 3


def test_awaiting_references_inside(ray: Any) -> None:
    actor = Asynchronous.remote()
    assert ray.get(actor.of_reference.remote([ray.put("awaited")]), timeout=20) == "awaited"


def test_a_blocking_get_inside_works_and_warns(ray: Any, capfd: Any) -> None:
    from tests.api.actors.counter import wait_for

    actor = Asynchronous.remote()
    assert ray.get(actor.blocking.remote([ray.put("got")]), timeout=20) == "got"
    said: list[str] = []

    def warned() -> bool:
        said.extend(capfd.readouterr())
        return "await" in "".join(said)

    wait_for(warned)


def test_asynchronous_generators(ray: Any) -> None:
    actor = Asynchronous.remote()
    assert [ray.get(x) for x in actor.items.remote(4)] == [0, 1, 2, 3]

    async def collect() -> list[Any]:
        return [await ref async for ref in actor.items.remote(3)]

    assert asyncio.run(collect()) == [0, 1, 2]


@rayhpc.remote(concurrency_groups={"io": 2, "compute": 1})
class Grouped:
    def __init__(self) -> None:
        self.meetings = {"io": _Meeting(), "compute": _Meeting(), "": _Meeting()}
        self.release = threading.Event()

    def _stay(self, group: str) -> None:
        self.meetings[group].enter()
        time.sleep(0.05)
        self.meetings[group].leave()

    @rayhpc.method(concurrency_group="io")
    def read(self) -> None:
        self._stay("io")

    @rayhpc.method(concurrency_group="compute")
    def compute(self) -> None:
        self._stay("compute")

    @rayhpc.method(concurrency_group="compute")
    def hold(self) -> bool:
        return self.release.wait(60)

    def let_go(self) -> None:
        self.release.set()

    def plain(self) -> None:
        self._stay("")

    def most(self) -> dict[str, int]:
        return {name: x.most for name, x in self.meetings.items()}


def test_groups_have_each_their_own_limit(ray: Any) -> None:
    grouped = Grouped.remote()
    calls = [x.remote() for x in (grouped.read, grouped.compute, grouped.plain) * 4]
    ray.get(calls, timeout=20)
    assert ray.get(grouped.most.remote(), timeout=20) == {"io": 2, "compute": 1, "": 1}


def test_one_group_does_not_hold_up_another(ray: Any) -> None:
    grouped = Grouped.remote()
    held = grouped.hold.remote()
    ray.get([grouped.read.remote(), grouped.let_go.remote()], timeout=20)
    assert ray.get(held, timeout=20) is True
    other = grouped.plain.options(concurrency_group="io").remote()
    assert ray.get(other, timeout=20) is None


def test_a_group_that_does_not_exist_is_refused(ray: Any) -> None:
    @ray.remote(concurrency_groups={"io": 1})
    class Wrong:
        @rayhpc.method(concurrency_group="oi")
        def method(self) -> None: ...

    with pytest.raises(ValueError, match=r"no concurrency group 'oi'; it has: io"):
        Wrong.remote()


def test_groups_of_an_asynchronous_actor(ray: Any) -> None:
    @ray.remote(concurrency_groups={"one": 1})
    class Both:
        def __init__(self) -> None:
            self.inside: dict[str, int] = {"one": 0, "": 0}
            self.most: dict[str, int] = {"one": 0, "": 0}

        async def _stay(self, group: str) -> int:
            self.inside[group] += 1
            self.most[group] = max(self.most[group], self.inside[group])
            await asyncio.sleep(0.03)
            self.inside[group] -= 1
            return self.most[group]

        @rayhpc.method(concurrency_group="one")
        async def narrow(self) -> int:
            return await self._stay("one")

        async def wide(self) -> int:
            return await self._stay("")

    both = Both.remote()
    narrow = [both.narrow.remote() for _ in range(3)]
    wide = [both.wide.remote() for _ in range(5)]
    assert max(ray.get(narrow, timeout=20)) == 1
    assert max(ray.get(wide, timeout=20)) == 5
