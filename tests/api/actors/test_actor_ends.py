"""How actors end: by their last handle, kill, exit_actor, and sys.exit."""

from __future__ import annotations

import atexit
import gc
import os
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions
from tests.api.actors.counter import Counter, wait_for


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
    deadline = time.monotonic() + 60
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


@pytest.mark.parametrize("kind", ["task", "actor", "async actor"])
def test_exit_handlers_may_use_the_cluster(ray: Any, tmp_path: Path, kind: str) -> None:
    results = tmp_path / "results"

    @ray.remote
    def double(number: int) -> int:
        return 2 * number

    def at_exit(ref: Any) -> None:
        large = rayhpc.put(bytes(300_000))
        found = rayhpc.get([ref, double.remote(4)], timeout=20), len(rayhpc.get(large))
        results.with_suffix(".part").write_text(repr(found))
        results.with_suffix(".part").rename(results)

    def register(refs: list[Any]) -> None:
        atexit.register(at_exit, refs[0])

    class Leaver:
        def run(self, refs: list[Any]) -> None:
            register(refs)
            rayhpc.exit_actor()

    class AsyncLeaver:
        async def run(self, refs: list[Any]) -> None:
            register(refs)
            rayhpc.exit_actor()

    refs = [ray.put("kept")]
    if kind == "task":
        ray.get(ray.remote(max_calls=1)(register).remote(refs), timeout=20)
    else:
        actor = ray.remote(Leaver if kind == "actor" else AsyncLeaver).remote()
        with pytest.raises(exceptions.RayActorError):
            ray.get(actor.run.remote(refs), timeout=20)
    wait_for(results.exists)
    assert results.read_text() == "(['kept', 8], 300000)"


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


@rayhpc.remote(num_cpus=0)
def marks_late(mark: str) -> None:
    time.sleep(0.5)
    open(mark, "w").close()


@rayhpc.remote(num_cpus=0, _generator_backpressure_num_objects=1)
def marks_after_its_items(mark: str) -> Any:
    yield from range(4)
    open(mark, "w").close()


class Submits:
    """Ends while something that it has submitted runs."""

    def leave(self, how: str, mark: str) -> None:
        if how == "generator":
            items = marks_after_its_items.remote(mark)
            assert rayhpc.get(next(items)) == 0
            raise SystemExit(1)
        marks_late.remote(mark)
        if how == "exit_actor":
            rayhpc.exit_actor()
        if how == "sys.exit":
            raise SystemExit(3)


class SubmitsInALoop(Submits):
    async def leave(self, how: str, mark: str) -> None:
        super().leave(how, mark)


def test_what_an_actor_has_submitted_ends_before_it(ray: Any, tmp_path: Path) -> None:
    marks = []
    for cls in (Submits, SubmitsInALoop):
        for how in ("exit_actor", "sys.exit", "no handle", "generator"):
            if cls is SubmitsInALoop and how == "generator":
                continue  # its loop would wait in get()
            marks.append(tmp_path / f"{cls.__name__} {how}")
            ray.remote(num_cpus=0)(cls).remote().leave.remote(how, str(marks[-1]))
    wait_for(lambda: all(mark.exists() for mark in marks))


def test_but_kill_ends_that_too(ray: Any, tmp_path: Path) -> None:
    mark = tmp_path / "late"

    @ray.remote(num_cpus=0)
    class Killed:
        def submit(self) -> None:
            marks_late.remote(str(mark))

    actor = Killed.remote()
    ray.get(actor.submit.remote(), timeout=20)
    ray.kill(actor)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(actor.submit.remote(), timeout=20)
    ray.get(marks_late.remote(str(tmp_path / "later")), timeout=20)
    assert not mark.exists()
