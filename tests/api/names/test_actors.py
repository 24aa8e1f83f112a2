"""Each kind of actor and each of its options, on the node where the driver is not."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import rayhpc as ray
from rayhpc import exceptions
from tests.api.actors.counter import wait_for
from tests.api.names.naming import (
    FAR,
    LARGE,
    NEAR,
    Gate,
    Tally,
    Two,
    covers,
    get,
    here,
    is_gone,
    where,
)


# -- kinds ----------------------------------------------------------------------------------------
@covers("actors: synchronous", "actors: ordered calls per caller")
def test_calls_are_in_order_for_each_caller(two: Two) -> None:
    @ray.remote(num_cpus=0, **FAR)
    class Log:
        def __init__(self) -> None:
            self.seen: list[tuple[str, int]] = []

        def note(self, who: str, i: int, data: bytes = b"") -> str:
            self.seen.append((who, i))
            return here()

        def all(self) -> list[tuple[str, int]]:
            return self.seen

    @ray.remote
    def call(who: str, log: Any) -> set[str]:
        # Some arguments have to be brought there, and still nothing overtakes them.
        refs = [log.note.remote(who, i, ray.put(bytes(LARGE)) if i % 9 == 0 else b"") for i in many]
        return set(ray.get(refs, timeout=20))

    many, log = range(40), Log.remote()
    tasks = [call.options(**x).remote(str(i), log) for i, x in enumerate((NEAR, FAR))]
    mine = [log.note.remote("driver", i) for i in many]
    assert set(get(mine)).union(*get(tasks)) == {two.far}
    seen = get(log.all.remote())
    for who in ("driver", "0", "1"):
        assert [i for name, i in seen if name == who] == list(many)


@covers("actors: threaded", "options: max_concurrency")
def test_threaded(two: Two) -> None:
    @ray.remote(num_cpus=0)
    class Meeting:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)

        def meet(self) -> tuple[int, str]:
            return self.barrier.wait(20), here()

    meeting = Meeting.options(max_concurrency=3, **FAR).remote()
    found = get([meeting.meet.remote() for _ in range(3)])
    assert sorted(found) == [(i, two.far) for i in range(3)]


@covers("actors: asyncio")
def test_asynchronous(two: Two) -> None:
    @ray.remote(num_cpus=0)
    class Waiter:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> str:
            await self.event.wait()
            return here()

        async def wake(self, refs: list[Any]) -> Any:
            self.event.set()
            return await refs[0]

    waiter = Waiter.options(**FAR).remote()
    waiting = [waiter.wait.remote() for _ in range(20)]
    assert get(waiter.wake.remote([where.options(**NEAR).remote()])) == two.near
    assert get(waiting) == [two.far] * 20


@covers("options: concurrency_groups")
def test_concurrency_groups(two: Two) -> None:
    @ray.remote(num_cpus=0, concurrency_groups={"io": 1, "compute": 2}, **FAR)
    class Grouped:
        def __init__(self) -> None:
            self.free = threading.Event()
            self.barrier = threading.Barrier(2)

        @ray.method(concurrency_group="io")
        def hold(self) -> bool:
            return self.free.wait(20)

        @ray.method(concurrency_group="compute")
        def meet(self) -> int:
            return self.barrier.wait(20)

        def let_go(self) -> str:
            self.free.set()
            return here()

    grouped = Grouped.remote()
    held = grouped.hold.remote()
    assert sorted(get([grouped.meet.remote() for _ in range(2)])) == [0, 1]
    assert get(grouped.let_go.options(concurrency_group="compute").remote()) == two.far
    assert get(held) is True


@covers("actors: generators")
def test_generators(two: Two) -> None:
    @ray.remote(num_cpus=0)
    class Counter:
        async def count(self, n: int) -> Any:
            for i in range(n):
                yield i, here()

    tally, counter = Tally.options(**FAR).remote(), Counter.options(**FAR).remote()
    assert [get(x)[0] for x in tally.items.remote(3)] == [0, 1, 2]
    assert get(tally.node.remote()) == two.far
    assert [get(x) for x in counter.count.remote(3)] == [(i, two.far) for i in range(3)]


@covers("actors: inheritance")
def test_inheritance(two: Two) -> None:
    class Base:
        def __init__(self, start: int) -> None:
            self.count = start

        def shown(self) -> str:
            return f"base {self.count}"

    class Derived(Base):
        def __init__(self) -> None:
            super().__init__(7)

        def node(self) -> str:
            return here()

    @ray.remote(num_cpus=0)
    class Further(Derived):
        def shown(self) -> str:
            return "further " + str(super().shown())

    further = Further.options(**FAR).remote()
    assert get([further.shown.remote(), further.node.remote()]) == ["further base 7", two.far]
    with pytest.raises(ray.actor.ActorClassInheritanceException):

        class Furthest(Further):  # type: ignore[misc, valid-type]
            pass


# -- handles --------------------------------------------------------------------------------------
@covers("actors: handles passed around")
def test_handles_travel(two: Two) -> None:
    @ray.remote
    def use(handles: dict[str, Any]) -> tuple[int, str, Any]:
        return ray.get(handles["tally"].add.remote(), timeout=20), here(), handles["tally"]

    tally = Tally.options(**NEAR).remote()
    total, node, again = get(use.options(**FAR).remote({"tally": tally}))
    assert (total, node, again) == (1, two.far, tally)
    assert get(again.add.remote()) == 2

    @ray.remote(**FAR)
    def closure() -> int:
        return int(ray.get(tally.add.remote(), timeout=20))

    assert get(closure.remote()) == 3


@covers("actors: last handle gone")
def test_an_actor_goes_with_its_last_handle(two: Two) -> None:
    @ray.remote(num_cpus=0, **FAR)
    class Holder:
        def take(self, handles: list[Any]) -> None:
            self.handles = handles

        def use(self) -> int:
            return int(ray.get(self.handles[0].add.remote(), timeout=20))

        def drop(self) -> None:
            del self.handles

    tally, holder = Tally.options(**FAR).remote(), Holder.remote()
    assert get(tally.node.remote()) == two.far
    pid = get(tally.pid.remote())
    get(holder.take.remote([tally]))
    del tally
    # The handle on the other node keeps it.
    assert get(holder.use.remote()) == 1
    get(holder.drop.remote())
    wait_for(lambda: is_gone(pid))


@covers("actors: exit_actor")
def test_exit_actor(two: Two, tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_restarts=3, **FAR)
    class Leaver:
        def pid(self) -> int:
            return os.getpid()

        def leave(self) -> None:
            ray.exit_actor()

        def mark(self, path: str) -> None:
            Path(path).touch()

    leaver = Leaver.remote()
    pid = get(leaver.pid.remote())
    refs = [leaver.leave.remote(), leaver.mark.remote(str(tmp_path / "ran"))]
    for ref in refs:
        with pytest.raises(exceptions.RayActorError):
            get(ref)
    wait_for(lambda: is_gone(pid))
    assert not (tmp_path / "ran").exists()


# -- names ----------------------------------------------------------------------------------------
@covers("options: name, of an actor", "exceptions.ActorAlreadyExistsError")
def test_a_name_is_taken_for_the_whole_cluster(two: Two) -> None:
    tally = Tally.options(name="one", **FAR).remote()
    assert get(tally.node.remote()) == two.far
    with pytest.raises(exceptions.ActorAlreadyExistsError, match="one"):
        Tally.options(name="one", **NEAR).remote()

    @ray.remote(**FAR)
    def name_of(handles: list[Any]) -> Any:
        return ray.get(
            handles[0].__ray_call__.remote(lambda _: ray.get_runtime_context().get_actor_name())
        )

    assert get(name_of.remote([tally])) == "one"


@covers("options: namespace", "actors: namespaced")
def test_namespaces(two: Two) -> None:
    here_, there = (
        Tally.options(name="same", **x).remote() for x in (FAR, {"namespace": "other", **FAR})
    )
    assert get([here_.add.remote(1), there.add.remote(10)]) == [1, 10]

    @ray.remote(**NEAR)
    def both() -> list[int]:
        handles = [ray.get_actor("same"), ray.get_actor("same", namespace="other")]
        return [int(x) for x in ray.get([x.add.remote(1) for x in handles], timeout=20)]

    assert get(both.remote()) == [2, 11]
    assert get(both.options(**FAR).remote()) == [3, 12]


@covers("options: get_if_exists")
def test_get_if_exists(two: Two) -> None:
    first = Tally.options(name="shared", get_if_exists=True, **FAR).remote(5)
    assert get(first.add.remote()) == 6

    @ray.remote
    def again() -> tuple[int, str]:
        found = Tally.options(name="shared", get_if_exists=True, **NEAR).remote(100)
        total, node = ray.get([found.add.remote(), found.node.remote()], timeout=20)
        return total, node

    tasks = [again.options(**x).remote() for x in (NEAR, FAR)]
    assert sorted(get(tasks)) == [(7, two.far), (8, two.far)]


@covers('options: lifetime="detached"')
def test_detached(two: Two) -> None:
    @ray.remote(**FAR)
    def make() -> tuple[int, int]:
        kept = Tally.options(name="kept", lifetime="detached", **FAR).remote(1)
        lost = Tally.options(name="lost", **FAR).remote(1)
        return ray.get(kept.pid.remote(), timeout=20), ray.get(lost.pid.remote(), timeout=20)

    pid, other = get(make.remote())
    wait_for(lambda: is_gone(other))
    assert get(ray.get_actor("kept").pid.remote()) == pid
    ray.kill(ray.get_actor("kept"))
    wait_for(lambda: is_gone(pid))


# -- after a crash --------------------------------------------------------------------------------
@covers(
    "options: max_restarts",
    "exceptions.ActorUnavailableError",
    "exceptions.ActorDiedError",
    "exceptions.RayActorError",
)
def test_max_restarts(two: Two) -> None:
    tally = Tally.options(max_restarts=1, **FAR).remote(5)
    assert get(tally.add.remote()) == 6
    with pytest.raises(exceptions.ActorUnavailableError) as caught:
        get(tally.crash.remote())
    assert isinstance(caught.value, exceptions.RayActorError)

    def total_again() -> int:
        try:
            return int(get(tally.add.remote()))
        except exceptions.ActorUnavailableError:
            return 0

    wait_for(lambda: total_again() == 6)
    assert get(tally.node.remote()) == two.far
    for method in (tally.crash, tally.add):
        with pytest.raises(exceptions.ActorDiedError) as died:
            get(method.remote())
        assert tally._actor_id.hex() == died.value.actor_id


@covers("options: max_task_retries")
def test_max_task_retries(two: Two, tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, **FAR)
    class Fragile:
        def crash_until(self, good: int) -> tuple[int, str]:
            lives = len(os.listdir(tmp_path)) + 1
            (tmp_path / str(lives)).touch()
            if lives < good:
                os._exit(1)
            return lives, here()

        def after(self) -> str:
            return "after"

    fragile = Fragile.remote()
    assert get([fragile.crash_until.remote(3), fragile.after.remote()]) == [(3, two.far), "after"]


@covers("exceptions.PendingCallsLimitExceeded")
def test_too_many_pending_calls(two: Two) -> None:
    @ray.remote(num_cpus=0, max_pending_calls=2, max_concurrency=2, **FAR)
    class Slow:
        def __init__(self) -> None:
            self.free = threading.Event()

        def hold(self, gate: Any) -> str:
            ray.get(gate.wait.remote(), timeout=20)
            return here()

    slow, gate = Slow.remote(), Gate.remote()
    refs = [slow.hold.remote(gate) for _ in range(2)]
    with pytest.raises(exceptions.PendingCallsLimitExceeded):
        slow.hold.remote(gate)
    gate.open.remote()
    assert get(refs) == [two.far] * 2
