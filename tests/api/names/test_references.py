"""References, generators, buffers and values on their way between the nodes."""

from __future__ import annotations

import array
import asyncio
import concurrent.futures
import functools
import pickle
import threading
from dataclasses import dataclass
from typing import Any

import pytest

import rayhpc as ray
from tests.api.actors.counter import wait_for
from tests.api.names.naming import FAR, LARGE, NEAR, Two, block, covers, get, here

numpy = pytest.importorskip("numpy")


@ray.remote(num_cpus=0)
class Keeper:
    """Keeps what it is given, on its node."""

    def keep(self, value: Any) -> str:
        self.value = value
        return here()

    def give(self) -> Any:
        return self.value

    def read(self) -> int:
        return len(ray.get(self.value["ref"], timeout=20))


# -- references ----------------------------------------------------------------------------------
@covers("ObjectRef: hashable", "ObjectRef: hex", "ObjectRef: in arguments", "ObjectRef: in results")
def test_references_are_the_same_wherever_they_come_from(two: Two) -> None:
    @ray.remote
    def back(refs: list[Any], looked_up: dict[Any, str]) -> tuple[Any, ...]:
        return refs, [looked_up[x] for x in refs], [x.hex() for x in refs], here()

    refs = [block.options(**FAR).remote(), ray.put(bytes(LARGE))]
    names = dict(zip(refs, ("task", "put"), strict=True))
    found, values, texts, node = get(back.options(**FAR).remote(refs, names))
    assert (values, node) == (["task", "put"], two.far)
    assert found == refs
    assert set(found) == set(refs)
    assert texts == [x.hex() for x in refs]
    assert ray.ObjectRef.from_hex(texts[0]) == refs[0]


@covers("ObjectRef: in other objects")
def test_a_reference_inside_an_object_keeps_its_value(two: Two) -> None:
    keeper = Keeper.options(**FAR).remote()
    assert get(keeper.keep.remote({"ref": ray.put(bytes(LARGE))})) == two.far
    assert get(keeper.read.remote()) == LARGE
    outer = ray.put([block.options(**FAR).remote(4)])
    (inner,) = get(outer)
    deep = ray.remote(lambda refs: ray.get(ray.get(refs[0])[0], timeout=20)[0])
    assert get(deep.options(**FAR).remote([outer])) == 4
    assert get(inner)[0] == 4


@covers("ObjectRef: in closures")
def test_a_reference_in_a_closure(two: Two) -> None:
    ref = ray.put(bytes([5]) * LARGE)

    @ray.remote(**FAR)
    def read() -> tuple[int, str]:
        return ray.get(ref, timeout=20)[0], here()

    assert get(read.remote()) == (5, two.far)


@covers("ObjectRef: pickled by hand")
def test_a_reference_pickled_by_hand(two: Two) -> None:
    data = pickle.dumps(block.options(**FAR).remote(6))
    read = ray.remote(lambda data: (ray.get(pickle.loads(data), timeout=20)[0], here()))
    assert get(read.options(**FAR).remote(data)) == (6, two.far)
    assert get(pickle.loads(data))[0] == 6


@covers("ObjectRef: awaitable", "ObjectRef: future")
def test_waiting_for_references(two: Two) -> None:
    async def gather() -> list[int]:
        refs = [block.options(**FAR).remote(i) for i in range(3)]
        return [x[0] for x in await asyncio.gather(*refs)] + [(await asyncio.shield(refs[1]))[0]]

    assert asyncio.run(gather()) == [0, 1, 2, 1]
    future = block.options(**FAR).remote(8).future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=30)[0] == 8


# -- generators ----------------------------------------------------------------------------------
@ray.remote(num_cpus=0)
class Producer:
    def __init__(self) -> None:
        self.made = 0

    def produce(self, count: int) -> Any:
        for i in range(count):
            self.made = i + 1
            yield bytes([i % 256]) * LARGE

    async def so_far(self) -> int:
        return self.made

    def node(self) -> str:
        return here()


@ray.remote
def produce(count: int) -> Any:
    yield here()
    yield from (bytes([i]) * LARGE for i in range(count))


@covers("ObjectRefGenerator: sync", "ObjectRefGenerator: completed")
def test_streams(two: Two) -> None:
    stream = produce.options(**FAR).remote(3)
    assert isinstance(stream, ray.ObjectRefGenerator)
    done = stream.completed()
    assert get(next(stream)) == two.far
    assert [get(x)[0] for x in stream] == [0, 1, 2]
    assert ray.wait([done], timeout=30)[0] == [done]

    @ray.remote
    def consume() -> list[Any]:
        return [x if isinstance(x, str) else x[0] for x in map(ray.get, remote.remote(2))]

    remote = produce.options(**NEAR)
    assert get(consume.options(**FAR).remote()) == [two.near, 0, 1]


@covers("ObjectRefGenerator: async")
def test_asynchronous_streams(two: Two) -> None:
    async def collect() -> list[Any]:
        return [await ref async for ref in produce.options(**FAR).remote(3)]

    node, *blocks = asyncio.run(collect())
    assert (node, [x[0] for x in blocks]) == (two.far, [0, 1, 2])


@covers("ObjectRefGenerator: back-pressure")
def test_back_pressure(two: Two) -> None:
    producer = Producer.options(max_concurrency=2, **FAR).remote()
    assert get(producer.node.remote()) == two.far
    method = producer.produce.options(_generator_backpressure_num_objects=2)
    stream = method.remote(100)
    assert get(next(stream))[0] == 0
    wait_for(lambda: get(producer.so_far.remote()) >= 3)
    # Unbounded, it would be through long before so many answers.
    assert max(get(producer.so_far.remote()) for _ in range(100)) <= 4
    assert [get(x)[0] for x in stream] == list(range(1, 100))


# -- values ---------------------------------------------------------------------------------------
@covers("numpy: zero-copy and read-only")
def test_arrays(two: Two) -> None:
    @ray.remote
    def made() -> Any:
        return {"a": numpy.arange(LARGE), "b": [numpy.ones((500, 500), "f4")]}

    @ray.remote
    def looked_at(array: Any, more: dict[str, Any]) -> tuple[Any, ...]:
        again = ray.get(more["ref"], timeout=20)
        copied = not numpy.shares_memory(array, again)
        return int(array.sum()), array.flags.writeable, array.flags.owndata, copied, here()

    ref = made.options(**FAR).remote()
    first, second = get(ref), get(ref)
    for name, whole in (("a", first["a"]), ("b", first["b"][0])):
        assert not whole.flags.writeable, name
        assert not whole.flags.owndata, name
    # Read twice, it is the same memory: the one copy that this node's store has.
    assert numpy.shares_memory(first["a"], second["a"])
    with pytest.raises(ValueError, match="read-only"):
        first["a"][0] = 1
    mine = ray.put(numpy.arange(LARGE))
    found = get(looked_at.options(**FAR).remote(mine, {"ref": mine}))
    assert found == (sum(range(LARGE)), False, False, False, two.far)


@covers("buffers of other objects")
def test_buffers(two: Two) -> None:
    @ray.remote
    def wrapped(fill: int) -> Any:
        return [pickle.PickleBuffer(bytearray([fill]) * LARGE), here()]

    buffer, node = get(wrapped.options(**FAR).remote(3))
    view = memoryview(buffer)
    assert (view.readonly, view.nbytes, view[0], node) == (True, LARGE, 3, two.far)


@dataclass
class Point:
    x: int
    y: Any = None


@covers("whatever cloudpickle can carry")
def test_what_can_be_sent(two: Two) -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

        def doubled(self) -> int:
            return 2 * self.value

    def outer(step: int) -> Any:
        def inner(x: int) -> int:
            return x + step if x > 10 else inner(x + step)

        return inner

    back = ray.remote(lambda *values: (values, here()))
    sent = (
        Local(4),
        outer(5),
        functools.partial(pow, 2),
        lambda x: Local(x).doubled(),
        Point(1, Point(2)),
        array.array("d", [1.5]),
        {1: {(2, 3): frozenset({4})}, None: ...},
        numpy.float32(2.5),
    )
    (local, inner, power, doubled, *rest), node = get(back.options(**FAR).remote(*sent))
    assert node == two.far
    assert (local.doubled(), inner(1), power(5), doubled(8)) == (8, 16, 32, 16)
    assert rest == list(sent[4:])
    with pytest.raises(TypeError, match="lock"):
        back.options(**FAR).remote(threading.Lock())
