"""Actors: calls, handles, options of methods, constructors and resources."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from rayhpc.api.objects.objects import free
from tests.api.actors.counter import Counter, wait_for


def is_dead(actor: Any) -> bool:
    try:
        rayhpc.get(actor.__ray_ready__.remote(), timeout=60)
    except exceptions.RayActorError:
        return True
    return False


# -- calls ---------------------------------------------------------------------------------------
def test_calls_in_order(ray: Any) -> None:
    counter = Counter.remote(10)
    assert ray.get([counter.increase.remote() for _ in range(300)]) == list(range(11, 311))


def test_every_kind_of_method(ray: Any) -> None:
    counter = Counter.remote(3)
    assert ray.get(counter.pair.remote()) == [3, -3]
    assert ray.get(counter.double.remote(4)) == 8
    assert ray.get(counter.name.remote()) == "Counter"
    assert ray.get(counter.own_class.remote()) == "Counter"
    assert ray.get(getattr(counter, "__call__").remote(5)) == 15  # noqa: B009
    assert [ray.get(x) for x in counter.items.remote(3)] == [3, 4, 5]


def test_arguments_are_references_and_other_actors(ray: Any) -> None:
    @ray.remote
    class Caller:
        def call(self, other: Any, by: int) -> int:
            found: int = rayhpc.get(other.increase.remote(by))
            return found

    counter, caller = Counter.remote(), Caller.remote()
    assert ray.get(caller.call.remote(counter, ray.put(5)), timeout=30) == 5
    assert ray.get(counter.increase.remote(1)) == 6


def test_options_of_one_call(ray: Any) -> None:
    counter = Counter.remote(7)
    one, two = counter.pair.options(num_returns=2).remote()
    assert ray.get([one, two]) == [7, -7]
    both = counter.pair.options(num_returns=1).remote()
    assert ray.get(both) == (7, -7)
    with pytest.raises(ValueError, match="Did you mean 'num_returns'"):
        counter.pair.options(num_return=2)
    with pytest.raises(ValueError, match="no concurrency group 'io'"):
        counter.pair.options(concurrency_group="io")


def test_an_error_names_the_actor_and_leaves_it_usable(ray: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(KeyError) as caught:
        ray.get(counter.fail.remote())
    assert "Counter.fail" in str(caught.value)
    assert ray.get(counter.increase.remote()) == 1


def test_a_missing_method_names_those_there_are(ray: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(AttributeError, match="no method 'decrease'.*fail, increase"):
        counter.decrease.remote()
    assert not hasattr(counter, "__len__")
    assert "increase" in dir(counter)
    of_all = {"__init__", "__ray_ready__", "__ray_call__", "__ray_terminate__"}
    assert {name for name in dir(counter) if name.startswith("_")} == of_all


def test_arguments_that_do_not_fit_are_refused_at_the_call(ray: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"Counter\.increase\(\): .*unexpected keyword"):
        counter.increase.remote(to=3)
    with pytest.raises(TypeError, match=r"Counter\(\): too many"):
        Counter.remote(1, 2)
    with pytest.raises(TypeError, match=r"increase\.remote\("):
        counter.increase()


def test_what_every_actor_can_be_asked(ray: Any) -> None:
    counter = Counter.remote(5)
    assert ray.get(counter.__ray_ready__.remote()) is True
    assert ray.get(counter.__ray_call__.remote(lambda self, x: self.count + x, 2)) == 7
    counter.__ray_terminate__.remote()
    wait_for(lambda: is_dead(counter))


def test_the_last_words_of_an_actor_are_heard_unless_it_is_killed(
    ray: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    @ray.remote
    class Tidy:
        def __ray_shutdown__(self) -> None:
            time.sleep(0.2)
            (tmp_path / ray.get_runtime_context().get_actor_id()).touch()
            raise ValueError("said at the end")

        def name(self) -> str:
            return ray.get_runtime_context().get_actor_id()

    killed, left = Tidy.remote(), Tidy.remote()
    names = ray.get([killed.name.remote(), left.name.remote()], timeout=20)
    ray.kill(killed)
    wait_for(lambda: is_dead(killed))
    del left
    wait_for(lambda: (tmp_path / names[1]).exists())
    wait_for(lambda: "ValueError: said at the end" in capfd.readouterr().err)
    assert not (tmp_path / names[0]).exists()


def test_many_pending_calls_are_refused(ray: Any) -> None:
    @ray.remote(max_pending_calls=3)
    class Slow:
        def nap(self) -> None:
            time.sleep(0.3)

    slow = Slow.remote()
    refs = [slow.nap.remote() for _ in range(3)]
    with pytest.raises(exceptions.PendingCallsLimitExceeded, match="max_pending_calls is 3"):
        slow.nap.remote()
    ray.get(refs, timeout=20)
    ray.get(slow.nap.remote(), timeout=20)


def test_inheritance(ray: Any) -> None:
    class Base:
        def __init__(self) -> None:
            self.text = "base"

        def shown(self) -> str:
            return self.text

    class Derived(Base):
        def __init__(self) -> None:
            super().__init__()
            self.text += " and derived"

    @ray.remote
    class Further(Derived):
        def shown(self) -> str:
            return super().shown() + " and further"

    actor_class = ray.remote(Derived)
    assert ray.get(actor_class.remote().shown.remote()) == "base and derived"
    assert ray.get(Further.remote().shown.remote()) == "base and derived and further"


# -- handles -------------------------------------------------------------------------------------
def test_what_a_handle_is(ray: Any) -> None:
    counter = Counter.remote()
    assert isinstance(counter, ray.ActorHandle)
    assert isinstance(counter._actor_id, ray.ActorID)
    assert counter._actor_id.hex() == counter._ray_actor_id.hex()
    assert repr(counter) == f"Actor(Counter, {counter._actor_id.hex()})"
    again = pickle.loads(pickle.dumps(counter))
    assert again == counter
    assert len({again, counter, Counter.remote()}) == 2
    assert ray.get(again.increase.remote()) == 1


def test_a_handle_in_a_result_and_in_a_closure(ray: Any) -> None:
    @ray.remote
    def make() -> dict[str, Any]:
        return {"actor": Counter.options(lifetime="detached", name="made inside").remote(40)}

    made = ray.get(make.remote(), timeout=30)["actor"]
    assert ray.get(made.increase.remote()) == 41
    counter = Counter.remote(1)

    @ray.remote
    def use() -> int:
        found: int = rayhpc.get(counter.increase.remote())
        return found

    assert ray.get(use.remote(), timeout=30) == 2
    ray.kill(made)


def test_each_copy_is_a_caller_of_its_own(ray: Any) -> None:
    """One caller's first call waits for its argument; that holds up nobody else."""

    @ray.remote
    def late() -> int:
        time.sleep(1)
        return 100

    @ray.remote
    def call(handles: list[Any], pickled: bytes) -> list[int]:
        by_hand = pickle.loads(pickled)
        return list(rayhpc.get([handles[0].increase.remote(), by_hand.increase.remote()]))

    counter = Counter.remote()
    held_up = counter.increase.remote(late.remote())
    assert ray.get(call.remote([counter], pickle.dumps(counter)), timeout=30) == [1, 2]
    assert ray.get(held_up, timeout=30) == 102


def test_a_constructor_s_error_comes_with_every_call(ray: Any) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("cannot be built")

        def method(self) -> None: ...

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(exceptions.ActorDiedError, match="cannot be built"):
            ray.get(broken.method.remote(), timeout=20)


def test_a_constructor_s_failed_argument_is_the_error(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("no argument")

    counter = Counter.remote(fail.remote())
    with pytest.raises(exceptions.RayError, match="no argument"):
        ray.get(counter.increase.remote(), timeout=20)


def test_a_constructor_waits_for_its_arguments_and_may_be_large(ray: Any) -> None:
    @ray.remote
    def late() -> int:
        time.sleep(0.3)
        return 10

    assert ray.get(Counter.remote(late.remote()).increase.remote(), timeout=20) == 11

    @ray.remote
    class Holder:
        def __init__(self, data: bytes, more: Any) -> None:
            self.size = len(data) + len(more)

        def total(self) -> int:
            return self.size

    big = bytes(300_000)
    assert ray.get(Holder.remote(big, more=ray.put(big)).total.remote(), timeout=20) == 600_000


# -- resources -----------------------------------------------------------------------------------
def test_actors_hold_no_cpu_unless_they_say_so(ray: Any) -> None:
    actors = [Counter.remote() for _ in range(6)]
    ray.get([x.__ray_ready__.remote() for x in actors], timeout=30)
    wait_for(lambda: ray.available_resources().get("CPU") == 4)
    holder = Counter.options(num_cpus=3).remote()
    ray.get(holder.__ray_ready__.remote(), timeout=30)
    wait_for(lambda: ray.available_resources().get("CPU") == 1)
    del holder
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


def test_two_actors_share_a_gpu(ray: Any) -> None:
    @ray.remote(num_gpus=0.5, num_cpus=0)
    class Half:
        def mine(self) -> list[Any]:
            return rayhpc.get_gpu_ids()

    halves = [Half.remote() for _ in range(4)]
    found = [x[0] for x in ray.get([x.mine.remote() for x in halves], timeout=30)]
    assert sorted(found) == [0, 0, 1, 1]


def test_an_actor_class_names_what_its_class_has(ray: Any) -> None:
    assert {"remote", "options", "increase"} <= set(dir(Counter))


def test_methods_say_how_many_references_they_return(ray: Any) -> None:
    @ray.remote
    class Several:
        @ray.method(num_returns=2)
        def two(self) -> tuple[int, int]:
            return 1, 2

        def one(self) -> int:
            return 1

        def items(self) -> Any:
            yield 1

    several = Several.remote()
    assert several.two._num_returns == 2
    assert several.one._num_returns == 1
    assert several.one.options(num_returns=3)._num_returns == 3
    assert several.items._num_returns == -2


@pytest.mark.parametrize("large", [False, True])
def test_a_lost_argument_is_the_cause_of_a_call_s_error(ray: Any, large: bool) -> None:
    @ray.remote
    class Taker:
        def take(self, value: Any) -> None:
            raise AssertionError("it has no argument")

    @ray.remote
    def take(value: Any) -> None:
        raise AssertionError("it has no argument")

    lost = ray.put(bytes(500_000) if large else b"small")
    free([lost])
    for ref in (Taker.remote().take.remote(lost), take.remote(lost)):
        with pytest.raises(exceptions.RayTaskError) as caught:
            ray.get(ref, timeout=20)
        assert isinstance(caught.value.cause, exceptions.ObjectFreedError)
        assert isinstance(caught.value, exceptions.ObjectFreedError)
