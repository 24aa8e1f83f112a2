"""Actors that crash: what calls get, restarts, retries."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import rayhpc
from rayhpc import exceptions


@rayhpc.remote
class Fragile:
    def __init__(self, marks: str = "") -> None:
        self.marks = marks
        if marks:
            self.life = len(os.listdir(marks))
            Path(marks, str(self.life)).touch()
        self.calls = 0

    def pid(self) -> int:
        return os.getpid()

    def crash(self) -> None:
        os._exit(1)

    def crash_until(self, life: int) -> int:
        if self.life < life:
            os._exit(1)
        return self.life

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def was_restarted(self) -> bool:
        return rayhpc.get_runtime_context().was_current_actor_reconstructed


def test_a_crash_without_restarts_ends_the_actor(ray: Any) -> None:
    fragile = Fragile.remote()
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(fragile.crash.remote(), timeout=20)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(fragile.pid.remote(), timeout=20)


def test_get_of_a_list_fails_when_one_s_actor_is_dead(ray: Any) -> None:
    @ray.remote
    class Slow:
        def nap(self) -> None:
            time.sleep(20)

    slow, fragile = Slow.remote(), Fragile.remote()
    napping = slow.nap.remote()
    with pytest.raises(exceptions.ActorDiedError):
        ray.get([napping, fragile.crash.remote()], timeout=60)
    assert ray.wait([napping], timeout=0) == ([], [napping])
    ray.kill(slow)


def test_a_call_in_flight_is_unavailable_and_the_actor_comes_back(ray: Any) -> None:
    fragile = Fragile.options(max_restarts=1).remote()
    first = ray.get(fragile.pid.remote(), timeout=20)
    assert ray.get(fragile.was_restarted.remote(), timeout=20) is False
    with pytest.raises(
        exceptions.ActorUnavailableError, match="The actor is restarting.*max_task_retries"
    ):
        ray.get(fragile.crash.remote(), timeout=20)
    second = _eventually(ray, fragile)
    assert second != first
    assert ray.get(fragile.was_restarted.remote(), timeout=20) is True
    with pytest.raises(exceptions.RayActorError):
        ray.get(fragile.crash.remote(), timeout=20)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(fragile.pid.remote(), timeout=20)


def _eventually(ray: Any, fragile: Any) -> int:
    deadline = time.monotonic() + 60
    while True:
        try:
            found: int = ray.get(fragile.pid.remote(), timeout=20)
            return found
        except exceptions.ActorUnavailableError:
            assert time.monotonic() < deadline


def test_with_task_retries_calls_wait_and_run_again_in_order(ray: Any, tmp_path: Path) -> None:
    fragile = Fragile.options(max_restarts=-1, max_task_retries=-1).remote(str(tmp_path))
    crashed = fragile.crash_until.remote(2)
    after = [fragile.count.remote() for _ in range(3)]
    assert ray.get(crashed, timeout=40) == 2
    assert ray.get(after, timeout=20) == [1, 2, 3]


def test_one_retry_is_one_more_run(ray: Any, tmp_path: Path) -> None:
    fragile = Fragile.options(max_restarts=-1, max_task_retries=1).remote(str(tmp_path))
    assert ray.get(fragile.crash_until.remote(1), timeout=40) == 1


def test_out_of_retries(ray: Any, tmp_path: Path) -> None:
    fragile = Fragile.options(max_restarts=5, max_task_retries=1).remote(str(tmp_path))
    with pytest.raises(exceptions.RayActorError):
        ray.get(fragile.crash_until.remote(4), timeout=40)


def test_out_of_restarts_carries_the_constructor_s_error(ray: Any, tmp_path: Path) -> None:
    @ray.remote(max_restarts=1)
    class Once:
        def __init__(self, marks: str) -> None:
            if os.listdir(marks):
                raise ValueError("only once")
            Path(marks, "made").touch()

        def crash(self) -> None:
            os._exit(1)

        def ping(self) -> None: ...

    once = Once.remote(str(tmp_path))
    with pytest.raises(exceptions.RayActorError):
        ray.get(once.crash.remote(), timeout=20)
    deadline = time.monotonic() + 60
    while True:
        try:
            ray.get(once.ping.remote(), timeout=20)
        except exceptions.ActorUnavailableError:
            assert time.monotonic() < deadline
        except exceptions.ActorDiedError as error:
            assert "only once" in str(error)
            break


def test_kill_with_restart(ray: Any) -> None:
    fragile = Fragile.options(max_restarts=1, max_task_retries=1).remote()
    first = ray.get(fragile.pid.remote(), timeout=20)
    ray.kill(fragile, no_restart=False)
    assert ray.get(fragile.pid.remote(), timeout=20) != first
    ray.kill(fragile)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(fragile.pid.remote(), timeout=20)


@pytest.mark.parametrize(("retry", "runs"), [(True, 3), ([KeyError], 3), ([ValueError], 1)])
def test_methods_are_retried_on_exceptions(ray: Any, retry: Any, runs: int) -> None:
    @ray.remote
    class Failing:
        def __init__(self) -> None:
            self.runs = 0

        @rayhpc.method(max_task_retries=2, retry_exceptions=retry)
        def fail(self) -> None:
            self.runs += 1
            raise KeyError("again")

        def count(self) -> int:
            return self.runs

    failing = Failing.remote()
    with pytest.raises(KeyError):
        ray.get(failing.fail.remote(), timeout=20)
    assert ray.get(failing.count.remote(), timeout=20) == runs


def test_actors_of_an_actor_end_with_it(ray: Any) -> None:
    @ray.remote
    class Parent:
        def __init__(self) -> None:
            self.child = Fragile.remote()

        def child_pid(self) -> int:
            found: int = rayhpc.get(self.child.pid.remote())
            return found

    from tests.api.actors.counter import wait_for

    parent = Parent.remote()
    pid = ray.get(parent.child_pid.remote(), timeout=20)
    ray.kill(parent)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


@rayhpc.remote(num_cpus=0)
class SlowToStand:
    """Its process ends in the first constructors."""

    def __init__(self, marks: str, crashes: int) -> None:
        life = len(os.listdir(marks))
        Path(marks, str(life)).touch()
        if life < crashes:
            os._exit(1)

    def ask(self) -> str:
        return "ok"


@rayhpc.remote
def ask(actor: Any) -> str:
    answer: str = rayhpc.get(actor.ask.remote())
    return answer


@pytest.mark.parametrize("options", [{}, {"name": "slow", "lifetime": "detached"}])
def test_calls_wait_for_an_actor_that_has_never_stood(
    ray: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    actor = SlowToStand.options(max_restarts=3, **options).remote(str(tmp_path), 2)
    first = actor.ask.remote()
    assert ray.get([ask.remote(actor), first, actor.ask.remote()], timeout=30) == ["ok"] * 3
    assert len(os.listdir(tmp_path)) == 3
    ray.kill(actor)


def test_they_fail_once_it_has_no_restarts_left(ray: Any, tmp_path: Path) -> None:
    actor = SlowToStand.options(max_restarts=1).remote(str(tmp_path), 9)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(actor.ask.remote(), timeout=30)


def test_they_wait_on_another_node_too(nodes: Any, tmp_path: Path) -> None:
    far = SlowToStand.options(max_restarts=3, resources={"far": 0.1})
    assert rayhpc.get(far.remote(str(tmp_path), 2).ask.remote(), timeout=30) == "ok"
