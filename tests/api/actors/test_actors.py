"""Actors: calls, handles, options of methods, life and end."""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from rayhpc.api.objects.objects import free


@rayhpc.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.count = start

    def increase(self, by: int = 1) -> int:
        self.count += by
        return self.count

    def fail(self) -> None:
        raise KeyError("failed")

    @rayhpc.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.count, -self.count

    def items(self, n: int) -> Any:
        for i in range(n):
            yield self.count + i

    def pid(self) -> int:
        return os.getpid()

    @staticmethod
    def double(x: int) -> int:
        return 2 * x

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    def own_class(self) -> str:
        found: type = self.__ray_actor_class__  # type: ignore[attr-defined]
        return found.__name__

    def __call__(self, x: int) -> int:
        return self.count * x


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Look until something holds that no message tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        rayhpc.wait([rayhpc.put(None)], timeout=0)
        time.sleep(0.005)


def is_dead(actor: Any) -> bool:
    try:
        rayhpc.get(actor.__ray_ready__.remote(), timeout=10)
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


# -- the end -------------------------------------------------------------------------------------
def test_an_actor_without_handles_ends(ray: Any, tmp_path: Path) -> None:
    counter = Counter.remote()
    pid = ray.get(counter.pid.remote())
    del counter
    gc.collect()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_what_is_dropped_goes_although_the_program_does_nothing(ray: Any) -> None:
    counter = Counter.remote()
    pid = ray.get(counter.pid.remote())
    time.sleep(0.3)  # until nothing more comes
    del counter
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_calls_made_before_the_last_handle_went_are_run(ray: Any) -> None:
    assert ray.get(Counter.remote(5).increase.remote(), timeout=20) == 6
    refs = [Counter.remote(i).increase.remote() for i in range(3)]
    gc.collect()
    assert ray.get(refs, timeout=30) == [1, 2, 3]


def test_a_handle_elsewhere_keeps_the_actor(ray: Any) -> None:
    @ray.remote
    class Keeper:
        def keep(self, handles: list[Any]) -> None:
            self.handles = handles

        def use(self) -> int:
            found: int = rayhpc.get(self.handles[0].increase.remote())
            return found

        def drop(self) -> None:
            del self.handles

    keeper, counter = Keeper.remote(), Counter.remote()
    pid = ray.get(counter.pid.remote())
    ray.get(keeper.keep.remote([counter]), timeout=20)
    del counter
    gc.collect()
    assert ray.get(keeper.use.remote(), timeout=20) == 1
    ray.get(keeper.drop.remote(), timeout=20)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_kill(ray: Any) -> None:
    counter = Counter.remote()
    ray.get(counter.increase.remote())
    ray.kill(counter)
    with pytest.raises(exceptions.ActorDiedError, match="kill"):
        ray.get(counter.increase.remote(), timeout=20)
    with pytest.raises(ValueError, match="cancel"):
        ray.kill(ray.put(1))


def test_killed_before_its_constructor_s_arguments_are_there(ray: Any) -> None:
    @ray.remote
    def late() -> int:
        time.sleep(0.3)
        return 1

    counter = Counter.options(name="killed early").remote(late.remote())
    other = Counter.remote(late.remote())
    ray.kill(counter)
    ray.kill(other)
    for actor in (counter, other):
        with pytest.raises(exceptions.ActorDiedError):
            ray.get(actor.increase.remote(), timeout=20)


def test_dropped_or_killed_right_after_creation_leaks_nothing(ray: Any) -> None:
    @ray.remote
    class Borrower:
        def __init__(self, refs: list[Any]) -> None:
            self.value = rayhpc.get(refs[0])

    from rayhpc.runtime.process import current

    ref = ray.put(bytes(300_000))
    ray.kill(Borrower.remote([ref]))
    Borrower.remote([ref])
    entry = current.client()._objects.entry_of(ref)
    gc.collect()
    wait_for(lambda: entry.count == 1 and not entry.borrowers)


def test_exit_actor(ray: Any, tmp_path: Path) -> None:
    from rayhpc.api.actors.actor import exit_actor

    marks = str(tmp_path)

    @ray.remote
    class Leaver:
        def __init__(self) -> None:
            import atexit

            atexit.register(lambda: open(f"{marks}/atexit", "w").close())

        def leave(self) -> None:
            rayhpc.exit_actor()

        def mark(self) -> None:
            open(f"{marks}/ran", "w").close()

    leaver = Leaver.remote()
    refs = [leaver.leave.remote(), leaver.mark.remote(), leaver.mark.remote()]
    for ref in refs:
        with pytest.raises(exceptions.RayActorError):
            ray.get(ref, timeout=20)
    wait_for(lambda: (tmp_path / "atexit").exists())
    assert not (tmp_path / "ran").exists()
    with pytest.raises(TypeError, match="outside an actor"):
        exit_actor()

    @ray.remote
    def leave() -> str:
        try:
            rayhpc.exit_actor()
        except TypeError as error:
            return str(error)
        return ""

    assert "outside an actor" in ray.get(leave.remote(), timeout=20)


def test_sys_exit_in_a_method_ends_the_actor(ray: Any) -> None:
    @ray.remote
    class Leaver:
        def leave(self) -> None:
            raise SystemExit(2)

    leaver = Leaver.remote()
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(leaver.leave.remote(), timeout=20)


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
