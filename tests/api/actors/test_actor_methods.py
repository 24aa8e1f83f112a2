"""What an actor's methods and constructor run as: on which loop, beside what, returning what."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from tests.api.actors.counter import wait_for


@rayhpc.remote
def one() -> int:
    return 1


@rayhpc.remote
def after(seconds: float) -> str:
    time.sleep(seconds)
    return "late"


class _Echo:
    def echo(self, value: Any) -> Any:
        return value


class _AsyncEcho:
    async def echo(self, value: Any) -> Any:
        return value


# -- constructors ----------------------------------------------------------------------------------
def test_an_async_constructor_is_awaited(place: dict[str, Any]) -> None:
    @rayhpc.remote
    class Slow:
        async def __init__(self, value: int, *, more: int) -> None:
            self.value = await asyncio.sleep(0.05, value + more)

        def get(self) -> int:
            return self.value

    slow = Slow.options(**place).remote(5, more=1)
    assert rayhpc.get(slow.get.remote(), timeout=20) == 6


def test_an_async_constructor_that_raises_is_the_reason(place: dict[str, Any]) -> None:
    @rayhpc.remote
    class Failing:
        async def __init__(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("from the constructor")

        async def get(self) -> None: ...

    failing = Failing.options(**place).remote()
    with pytest.raises(exceptions.ActorDiedError, match="from the constructor"):
        rayhpc.get(failing.get.remote(), timeout=20)


def test_a_constructor_runs_on_the_loop_of_the_methods(place: dict[str, Any]) -> None:
    @rayhpc.remote
    class Looping:
        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.ticks = 0
            self.task = self.loop.create_task(self.tick())
            self.name = rayhpc.get_runtime_context().get_actor_id()
            self.got = rayhpc.get(one.options(num_cpus=0).remote())

        async def tick(self) -> None:
            while True:
                self.ticks += 1
                await asyncio.sleep(0.001)

        async def has_ticked(self) -> bool:
            while self.ticks < 3:
                await asyncio.sleep(0.001)
            return self.loop is asyncio.get_running_loop()

        def seen(self) -> tuple[int, bool, bool]:
            here = rayhpc.get_runtime_context().get_actor_id()
            return self.got, self.name == here, self.loop is asyncio.get_running_loop()

    looping = Looping.options(**place).remote()
    assert rayhpc.get(looping.has_ticked.remote(), timeout=20)
    assert rayhpc.get(looping.seen.remote(), timeout=20) == (1, True, True)


# -- groups ----------------------------------------------------------------------------------------
def test_each_group_of_an_async_actor_has_a_loop_of_its_own(place: dict[str, Any]) -> None:
    @rayhpc.remote(concurrency_groups={"health": 1})
    class Service:
        def __init__(self) -> None:
            self.free = threading.Event()

        async def step(self) -> bool:
            return self.free.wait(20)  # blocks its loop

        @rayhpc.method(concurrency_group="health")
        async def ping(self) -> str:
            self.free.set()
            return "alive"

    service = Service.options(**place).remote()
    step = service.step.remote()
    assert rayhpc.get(service.ping.remote(), timeout=60) == "alive"
    assert rayhpc.get(step, timeout=60)


# -- order -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (_Echo, {"max_concurrency": 2}),
        (_AsyncEcho, {"max_concurrency": 2}),
        (_Echo, {"allow_out_of_order_execution": True}),
    ],
)
def test_a_call_whose_arguments_are_there_overtakes_one_that_waits(
    place: dict[str, Any], cls: type, options: dict[str, Any]
) -> None:
    actor = rayhpc.remote(cls).options(**options, **place).remote()
    gate = after.options(num_cpus=0.1, **place).remote(1.5)
    waiting = actor.echo.remote(gate)
    quick = [actor.echo.remote(i) for i in range(5)]
    assert rayhpc.get(quick, timeout=20) == list(range(5))
    assert rayhpc.wait([waiting], timeout=0)[0] == []
    assert rayhpc.get(waiting, timeout=20) == "late"


def test_an_actor_that_runs_one_call_at_a_time_keeps_their_order(place: dict[str, Any]) -> None:
    actor = rayhpc.remote(_Echo).options(**place).remote()
    waiting = actor.echo.remote(after.options(num_cpus=0.1).remote(0.3))
    rayhpc.get(actor.echo.remote(1), timeout=20)
    assert rayhpc.wait([waiting], timeout=0)[0] == [waiting]


# -- names and values ------------------------------------------------------------------------------
def test_an_attribute_does_not_hide_a_method_of_the_same_name(place: dict[str, Any]) -> None:
    class Base:
        def value(self) -> Any:
            return self.__dict__["value"]

    @rayhpc.remote
    class Counter(Base):
        def __init__(self) -> None:
            self.__dict__["value"] = 0
            self.other = None

        def add(self) -> None:
            self.__dict__["value"] += 1

        @staticmethod
        def plain(x: int) -> int:
            return x

        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

        async def other(self) -> str:  # type: ignore[no-redef]
            return "method"

    counter = Counter.options(**place).remote()
    counter.add.remote()
    assert rayhpc.get(counter.value.remote(), timeout=20) == 1
    assert rayhpc.get(counter.other.remote(), timeout=20) == "method"
    assert rayhpc.get(counter.plain.remote(3), timeout=20) == 3
    assert rayhpc.get(counter.of_class.remote(), timeout=20) == "Counter"


def test_a_plain_method_of_an_async_actor_returns_what_it_returns(place: dict[str, Any]) -> None:
    @rayhpc.remote
    class Holder:
        def __init__(self) -> None:
            self.ref = one.options(num_cpus=0.1).remote()

        def sync_ref(self) -> Any:
            return self.ref

        async def async_ref(self) -> Any:
            return self.ref

    holder = Holder.options(**place).remote()
    for method in (holder.sync_ref, holder.async_ref):
        found = rayhpc.get(method.remote(), timeout=20)
        assert isinstance(found, rayhpc.ObjectRef)
        assert rayhpc.get(found, timeout=20) == 1


# -- the end ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [_Echo, _AsyncEcho])
@pytest.mark.parametrize("limit", [1, 3])
def test_once_told_to_terminate_an_actor_runs_no_call(
    place: dict[str, Any], cls: type, limit: int
) -> None:
    options = {"max_concurrency": limit, "max_restarts": 1, **place}
    actor = rayhpc.remote(cls).options(**options).remote()
    assert rayhpc.get(actor.echo.remote(1), timeout=20) == 1
    actor.__ray_terminate__.remote()
    if cls is _Echo and limit == 1:
        # In their order: what comes after it never runs.
        late = [actor.echo.remote(i) for i in range(50)]
        for ref in late:
            with pytest.raises(exceptions.RayActorError):
                rayhpc.get(ref, timeout=20)
    wait_for(lambda: isinstance(_outcome(actor.echo.remote(2)), exceptions.RayActorError))


def _outcome(ref: Any) -> Any:
    try:
        return rayhpc.get(ref, timeout=20)
    except exceptions.RayError as error:
        return error


# -- waiting ---------------------------------------------------------------------------------------
def test_a_blocking_get_off_the_loop_leaves_room_for_arguments(place: dict[str, Any]) -> None:
    @rayhpc.remote
    class Asking:
        async def outer(self, me: Any, refs: list[Any]) -> Any:
            return await asyncio.to_thread(rayhpc.get, me.inner.remote(refs[0]))

        async def inner(self, value: Any) -> Any:
            return len(value)

    asking = Asking.options(max_concurrency=100, **place).remote()
    for size in (10, 200_000):
        refs = [asking.outer.remote(asking, [rayhpc.put(bytes(size))]) for _ in range(40)]
        assert rayhpc.get(refs, timeout=40) == [size] * 40


def test_threads_that_wait_at_the_same_time_lend_their_cpu_until_the_last_goes_on(
    place: dict[str, Any],
) -> None:
    @rayhpc.remote
    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    @rayhpc.remote(max_concurrency=2)
    class Waiting:
        def wait_for(self, seconds: float, cpus: float) -> float:
            return rayhpc.get(work.options(num_cpus=cpus, **place).remote(seconds))

    cpus = 2 if place else 4
    waiting = Waiting.options(num_cpus=cpus, **place).remote()
    first = waiting.wait_for.remote(0.3, cpus)
    time.sleep(0.05)
    between = work.options(num_cpus=cpus, **place).remote(0.5)
    second = waiting.wait_for.remote(0.1, cpus)
    assert rayhpc.get([first, between, second], timeout=30) == [0.3, 0.5, 0.1]
