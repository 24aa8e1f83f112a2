"""`get`, `put`, `wait` and what references are."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import copy
import dataclasses
import gc
import pickle
import threading
import time
from typing import Any

import numpy as np
import pytest

import rayhpc
from rayhpc import exceptions
from rayhpc.runtime.process import current


@rayhpc.remote
def after(seconds: float, value: Any = None) -> Any:
    time.sleep(seconds)
    return value


@rayhpc.remote
def fail() -> None:
    raise KeyError("failed")


@dataclasses.dataclass
class _Holder:
    ref: Any


# -- get -----------------------------------------------------------------------------------------
def test_one_a_list_and_an_empty_list(ray: Any) -> None:
    refs = [ray.put(i) for i in range(3)]
    assert ray.get(refs[1]) == 1
    assert ray.get(refs) == [0, 1, 2]
    assert ray.get([refs[0], refs[0]]) == [0, 0]
    assert ray.get([]) == []


@pytest.mark.parametrize("value", [3, "text", (1,), {"a": 1}])
def test_what_is_no_reference_is_named(ray: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=type(value).__name__):
        ray.get(value)
    with pytest.raises(TypeError, match=type(value).__name__):
        ray.get([ray.put(1), value])


def test_a_timeout(ray: Any) -> None:
    ref = after.remote(0.5, "late")
    with pytest.raises(exceptions.GetTimeoutError, match="1 of 1"):
        ray.get(ref, timeout=0.01)
    with pytest.raises(TimeoutError):
        ray.get(ref, timeout=0)
    with pytest.raises(ValueError, match="timeout=-2"):
        ray.get(ref, timeout=-2)
    assert ray.get(ref, timeout=20) == "late"
    assert ray.get(ref, timeout=0) == "late"


def test_a_list_fails_with_its_first_failure_while_others_run(ray: Any) -> None:
    slow = after.remote(20)
    with pytest.raises(KeyError):
        ray.get([slow, fail.remote()], timeout=20)
    failed = fail.remote()
    ray.wait([failed])
    with pytest.raises(KeyError):
        ray.get([slow, failed], timeout=20)
    assert ray.wait([slow], timeout=0) == ([], [slow])
    ray.cancel(slow)


def test_a_list_of_foreign_references_fails_at_once_too(ray: Any) -> None:
    @ray.remote
    def look(refs: list[Any]) -> str:
        try:
            rayhpc.get(refs, timeout=20)
        except KeyError:
            return "failed"
        return "came through"

    slow = after.remote(20)
    assert ray.get(look.remote([slow, fail.remote()]), timeout=20) == "failed"
    assert ray.wait([slow], timeout=0) == ([], [slow])
    ray.cancel(slow)


# -- put -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [None, 0, "x", [1, [2]], {"a": (1,)}, b"x" * 300_000])
def test_what_is_put_comes_back(ray: Any, value: Any) -> None:
    assert ray.get(ray.put(value)) == value


def test_put_of_a_reference_is_refused(ray: Any) -> None:
    with pytest.raises(TypeError, match=r"put\(\[ref\]\)"):
        ray.put(ray.put(1))
    inner = ray.get(ray.put([ray.put(1)]))[0]
    assert ray.get(inner) == 1


def test_put_names_what_cannot_be_pickled(ray: Any) -> None:
    import threading

    with pytest.raises(TypeError, match=r"\['deep'\]\[0\]"):
        ray.put({"deep": [threading.Lock()]})


def test_arrays_come_back_read_only_and_without_copying(ray: Any) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(200_000, dtype=numpy.float64)
    ref = ray.put(array)
    one, two = ray.get(ref), ray.get(ref)
    assert (one == array).all()
    assert not one.flags.writeable
    assert one.__array_interface__["data"][0] == two.__array_interface__["data"][0]
    assert one.__array_interface__["data"][0] % 64 == 0
    with pytest.raises(ValueError, match="read-only"):
        one[0] = 1


def test_each_is_fetched_once_ahead_and_once_itself(
    ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [ray.put(np.full(20_000, i)) for i in range(100)]
    store = current.client()._core.store
    fetched: list[bytes] = []

    def fetch(oids: list[bytes], *rest: Any, **more: Any) -> None:
        fetched.extend(oids)
        return original(oids, *rest, **more)

    original = store.fetch
    monkeypatch.setattr(store, "fetch", fetch)
    assert [int(x[0]) for x in ray.get(refs)] == list(range(100))
    times = collections.Counter(fetched)
    assert set(times) == {x.binary() for x in refs}
    assert max(times.values()) == 2


def test_a_value_outlives_its_reference(ray: Any) -> None:
    numpy = pytest.importorskip("numpy")
    value = ray.get(ray.put(numpy.ones(200_000)))
    gc.collect()
    for i in range(5):
        ray.put(numpy.full(200_000, i))
    assert value.sum() == 200_000


def test_an_object_owned_by_an_actor(ray: Any) -> None:
    @ray.remote
    class Owner:
        def ping(self) -> bool:
            return True

    owner = Owner.remote()
    ref = ray.put("of the actor", _owner=owner)
    assert ray.get(ref) == "of the actor"
    assert ref.owner_address() != ray.put(1).owner_address()
    with pytest.raises(TypeError, match="handle"):
        ray.put(1, _owner="actor")


# -- wait ----------------------------------------------------------------------------------------
def test_the_order_given_and_never_more_than_asked(ray: Any) -> None:
    refs = [ray.put(i) for i in range(5)]
    ready, rest = ray.wait(refs, num_returns=2)
    assert (ready, rest) == (refs[:2], refs[2:])
    ready, rest = ray.wait(refs, num_returns=5)
    assert (ready, rest) == (refs, [])


def test_the_first_that_is_there(ray: Any) -> None:
    slow, quick = after.remote(3), after.remote(0.05)
    ready, rest = ray.wait([slow, quick], timeout=20)
    assert (ready, rest) == ([quick], [slow])
    ray.cancel(slow)


def test_a_timeout_only_looks(ray: Any) -> None:
    slow = after.remote(0.5)
    assert ray.wait([slow], timeout=0) == ([], [slow])
    assert ray.wait([slow], timeout=0.05) == ([], [slow])
    assert ray.wait([slow], timeout=20) == ([slow], [])


def test_a_failed_object_is_there(ray: Any) -> None:
    failed = fail.remote()
    assert ray.wait([failed], timeout=20) == ([failed], [])


def test_waiting_leaves_nothing_behind(ray: Any) -> None:
    from rayhpc.runtime.process import current

    slow = after.remote(0.5)
    for _ in range(20):
        ray.wait([slow], timeout=0.001)
    assert not current.client()._objects.entry_of(slow).callbacks
    ray.get(slow, timeout=20)


def test_generators_among_references(ray: Any) -> None:
    @ray.remote
    def yields(n: int) -> Any:
        yield from range(n)

    one, empty, ref = yields.remote(1), yields.remote(0), after.remote(3)
    ready, rest = ray.wait([one, ref, empty], num_returns=2, timeout=20)
    assert (ready, rest) == ([one, empty], [ref])
    assert ray.get(next(one)) == 0
    ray.cancel(ref)


def test_foreign_references(ray: Any) -> None:
    @ray.remote
    def look(refs: list[Any]) -> tuple[int, int]:
        ready, rest = rayhpc.wait(refs, num_returns=len(refs), timeout=20)
        return len(ready), len(rest)

    refs = [ray.put(1), ray.put(b"x" * 300_000), after.remote(0.2)]
    assert ray.get(look.remote(refs), timeout=30) == (3, 0)


def test_what_wait_refuses(ray: Any) -> None:
    ref = ray.put(1)
    with pytest.raises(TypeError, match="single ObjectRef"):
        ray.wait(ref)
    with pytest.raises(TypeError, match="tuple"):
        ray.wait((ref,))
    with pytest.raises(TypeError, match="int"):
        ray.wait([ref, 3])
    with pytest.raises(ValueError, match="unique"):
        ray.wait([ref, ref])
    with pytest.raises(ValueError, match="Invalid number"):
        ray.wait([ref], num_returns=0)
    with pytest.raises(ValueError, match="2 of 1"):
        ray.wait([ref], num_returns=2)
    with pytest.raises(ValueError, match="nonnegative"):
        ray.wait([ref], timeout=-1)
    assert ray.wait([]) == ([], [])


# -- references ----------------------------------------------------------------------------------
def test_identity_hash_and_copies(ray: Any) -> None:
    ref = ray.put(1)
    again = pickle.loads(pickle.dumps(ref))
    assert again == ref
    assert hash(again) == hash(ref)
    assert {ref: "found"}[again] == "found"
    assert copy.copy(ref) == copy.deepcopy(ref) == ref
    assert ray.ObjectRef.from_hex(ref.hex()) == ref
    assert ref != ray.put(1)
    assert ref.hex() in repr(ref)


def test_a_reference_pickled_by_hand_keeps_the_value(ray: Any) -> None:
    data = pickle.dumps(ray.put([1, 2, 3]))
    gc.collect()
    assert ray.get(pickle.loads(data), timeout=20) == [1, 2, 3]


def test_references_in_structures_keep_their_values(ray: Any) -> None:
    @ray.remote
    def makes() -> dict[str, _Holder]:
        return {"held": _Holder(rayhpc.put("inside"))}

    holder = ray.get(makes.remote(), timeout=20)["held"]
    gc.collect()
    assert ray.get(holder.ref, timeout=20) == "inside"
    outer = ray.put([ray.put("deep")])
    gc.collect()
    assert ray.get(ray.get(outer)[0], timeout=20) == "deep"


def test_the_store_is_empty_when_all_references_are_gone(ray: Any) -> None:
    from rayhpc.runtime.process import current
    from rayhpc.wire.messages import cluster, listings

    client = current.client()

    def stored() -> set[bytes]:
        rows = client.ask(client._core.raylet, cluster.StoreObjects(), list[listings.ObjectRow])
        return {row.oid for row in rows}

    before = stored()
    refs = [ray.put(bytes(500_000)) for _ in range(3)]
    assert len(stored() - before) == 3
    del refs
    gc.collect()
    deadline = time.monotonic() + 60
    while stored() - before:
        assert time.monotonic() < deadline
        client._loop.flush()


def test_futures(ray: Any) -> None:
    future = after.remote(0.05, "done").future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=20) == "done"
    with pytest.raises(KeyError):
        fail.remote().future().result(timeout=20)


def test_awaiting(ray: Any) -> None:
    async def gather() -> list[Any]:
        refs = [after.remote(0.02, i) for i in range(3)]
        found = await asyncio.gather(*refs)
        found.append(await asyncio.shield(after.remote(0, "shielded")))
        ready, _ = await asyncio.wait([after.remote(0, "waited").as_future()])
        found.append(ready.pop().result())
        try:
            await fail.remote()
        except KeyError:
            found.append("failed")
        return found

    assert asyncio.run(gather()) == [0, 1, 2, "shielded", "waited", "failed"]


def test_futures_of_a_loop_that_does_not_run_yet(ray: Any) -> None:
    """As programs drive a loop by hand: in the main thread, and in one that has no loop yet."""

    def drive(found: list[Any]) -> None:
        futures = [after.remote(0, i).as_future() for i in range(2)]
        loop = futures[0].get_loop()
        assert loop is futures[1].get_loop()
        found += loop.run_until_complete(asyncio.gather(*futures))
        loop.close()
        asyncio.set_event_loop(None)

    for run in (lambda x: x(), _in_a_thread):
        found: list[Any] = []
        run(lambda into=found: drive(into))
        assert found == [0, 1]


def _in_a_thread(function: Any) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(30)


def test_freeing_is_seen(ray: Any) -> None:
    small, large = ray.put("small"), ray.put(bytes(300_000))
    ray.free([small, large])
    for ref in (small, large):
        with pytest.raises(exceptions.ObjectFreedError):
            ray.get(ref, timeout=20)


def test_ids_of_a_reference(ray: Any) -> None:
    ref = after.remote(0)
    assert ref.task_id().binary() == ref.binary()[:24]
    assert ref.job_id() == ray.get_runtime_context().job_id


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reference_made_of_an_ids_bytes_counts(ray: Any, size: int) -> None:
    ref = ray.put(bytes(size))
    for make in (ray.ObjectRef, ray.ObjectRef.from_binary):
        twin = make(ref.binary())
        assert twin == ref
        del twin
    gc.collect()
    # Both settle what has died, and the raylet has heard of it, before this is answered.
    ray.get(ray.remote(lambda: None).remote())
    assert len(ray.get(ref)) == size
    last = ray.ObjectRef(ref.binary())
    del ref
    assert len(ray.get(last)) == size


@pytest.mark.parametrize("count", [1, 4, 100, 100_000])
def test_arrays_of_every_size_are_read_only(ray: Any, count: int) -> None:
    @ray.remote
    def is_writeable(array: Any) -> tuple[bool, Any]:
        return array.flags.writeable, array

    array = np.zeros(count)
    writeable, result = ray.get(is_writeable.remote(array), timeout=20)
    assert not writeable
    for one in (result, ray.get(ray.put(array)), *ray.get(ray.put([array, {"a": array}]))[:1]):
        assert not one.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 1
    assert ray.get(ray.put(np.zeros(0))).shape == (0,)


def test_a_callback_gets_the_value_or_the_error_and_is_let_go() -> None:
    import queue
    import sys

    @rayhpc.remote
    def halved(number: int) -> float:
        return 6 / number

    found: queue.SimpleQueue[object] = queue.SimpleQueue()

    def callback(result: object) -> None:
        found.put(result)

    before = sys.getrefcount(callback)
    ref = halved.remote(2)
    assert ref._on_completed(callback) is ref
    assert found.get(timeout=20) == 3
    halved.remote(0)._on_completed(callback)
    assert isinstance(found.get(timeout=20), ZeroDivisionError)
    del ref
    deadline = time.monotonic() + 60
    while sys.getrefcount(callback) > before and time.monotonic() < deadline:
        rayhpc.get(halved.remote(3))
    assert sys.getrefcount(callback) == before


def test_what_was_read_is_let_go_with_its_last_reference_not_by_the_collector() -> None:
    from rayhpc.util.state import list_objects

    gc.collect()
    gc.disable()
    try:
        for read in (lambda x: rayhpc.get(x), lambda x: rayhpc.get([x, x])):
            ref = rayhpc.put(np.ones(1_000_000))
            name = ref.hex()
            read(ref)
            del ref
            deadline = time.monotonic() + 60
            while any(x.object_id == name for x in list_objects(limit=10_000)):
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        gc.enable()
