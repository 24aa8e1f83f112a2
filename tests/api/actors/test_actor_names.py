"""Names of actors: found, taken, free again; namespaces and detached actors."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

import rayhpc
from tests.api.actors.counter import Counter, wait_for


def test_found_by_name(ray: Any) -> None:
    counter = Counter.options(name="found").remote(1)
    assert ray.get(ray.get_actor("found").increase.remote()) == 2
    assert ray.get_actor("found") == counter

    @ray.remote
    def inside() -> int:
        found: int = rayhpc.get(rayhpc.get_actor("found").increase.remote())
        return found

    assert ray.get(inside.remote(), timeout=20) == 3


def test_unknown_and_taken_names_are_told_apart(ray: Any) -> None:
    with pytest.raises(ValueError, match="Failed to look up actor with name 'unknown'"):
        ray.get_actor("unknown")
    kept = Counter.options(name="taken").remote()
    with pytest.raises(ValueError, match="taken"):
        Counter.options(name="taken").remote()
    assert ray.get(kept.increase.remote()) == 1
    with pytest.raises(ValueError, match="name"):
        ray.get_actor("")
    with pytest.raises(ValueError, match="Actor name cannot be an empty string"):
        Counter.options(name="")
    with pytest.raises(TypeError, match="text"):
        ray.get_actor(3)


def test_namespaces_separate_names(ray: Any) -> None:
    here = Counter.options(name="same").remote(1)
    there = Counter.options(name="same", namespace="elsewhere").remote(10)
    assert ray.get_actor("same") == here
    assert ray.get_actor("same", namespace="elsewhere") == there
    with pytest.raises(ValueError, match="'nowhere'"):
        ray.get_actor("same", namespace="nowhere")


def test_a_name_is_free_after_kill_and_after_the_last_handle(ray: Any) -> None:
    def is_free() -> bool:
        try:
            ray.get_actor("again")
        except ValueError:
            return True
        return False

    first = Counter.options(name="again").remote()
    ray.kill(first)
    wait_for(is_free)
    second = Counter.options(name="again").remote(5)
    assert ray.get(second.increase.remote(), timeout=20) == 6
    del second
    gc.collect()
    wait_for(is_free)
    assert ray.get(Counter.options(name="again").remote().increase.remote(), timeout=20) == 1


def test_a_handle_found_by_name_does_not_keep_the_actor(ray: Any) -> None:
    from tests.api.actors.test_actors import is_dead

    counter = Counter.options(name="weak").remote()
    found = ray.get_actor("weak")
    del counter
    gc.collect()
    wait_for(lambda: is_dead(found))


def test_get_if_exists_makes_exactly_one(ray: Any) -> None:
    found: list[Any] = []

    def make() -> None:
        found.append(Counter.options(name="one", get_if_exists=True).remote())

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 1
    counts = ray.get([x.increase.remote() for x in found], timeout=20)
    assert sorted(counts) == [1, 2, 3, 4, 5, 6]


def test_get_if_exists_from_many_tasks(ray: Any) -> None:
    @ray.remote
    def make() -> str:
        actor = Counter.options(name="of all", get_if_exists=True, lifetime="detached").remote()
        found: str = actor._actor_id.hex()
        return found

    assert len(set(ray.get([make.remote() for _ in range(8)], timeout=30))) == 1
    ray.kill(ray.get_actor("of all"))


def test_a_detached_actor_and_its_tasks_outlive_the_driver(run_program: Any) -> None:
    """On a node without a worker to spare, to which it is new; it is started again there, too."""
    run_program(
        """
        import os, time, rayhpc
        from rayhpc.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1, resources={"far": 1})
        cluster.connect(namespace="here")
        cluster.wait_for_nodes()
        far = {"resources": {"far": 0.001}}

        @rayhpc.remote(num_cpus=0, lifetime="detached", name="kept", max_restarts=-1, **far)
        class Kept:
            def pid(self):
                return os.getpid()

            def of_a_task(self, **options):
                child = rayhpc.remote(lambda: (os.environ.get("A"), os.getpid()))
                return rayhpc.get(child.options(**far, **options).remote())

            def end(self):
                os._exit(1)

        Kept.remote()
        rayhpc.shutdown()
        cluster.connect(namespace="here")
        kept = rayhpc.get_actor("kept")
        before = rayhpc.get(kept.pid.remote(), timeout=20)
        environment = {"env_vars": {"A": "1"}}
        for turn in range(3):
            kept.end.remote()
            after = before
            while after == before:
                try:
                    after = rayhpc.get(kept.pid.remote(), timeout=20)
                except rayhpc.exceptions.ActorUnavailableError:
                    time.sleep(0.01)
            before = after
            found = rayhpc.get(kept.of_a_task.remote(runtime_env=environment), timeout=20)
            assert found[0] == "1"
            assert rayhpc.get(kept.of_a_task.remote(), timeout=20)[0] is None
        rayhpc.kill(kept)
        workers = rayhpc.util.state.list_workers(limit=10_000)
        assert len(workers) < 50, "workers were started over and over"
        """
    )


def test_a_detached_actor_outlives_its_handles(ray: Any) -> None:
    Counter.options(name="detached", lifetime="detached").remote(3)
    gc.collect()
    assert ray.get(ray.get_actor("detached").increase.remote(), timeout=20) == 4
    ray.kill(ray.get_actor("detached"))


@rayhpc.remote(num_cpus=0)
class Brief:
    def release(self) -> int:
        return 1


def take_and_drop(rounds: int, name: str) -> int:
    """Each round's actor is the last one's, which lives, or a new one: its call does not die."""
    done = 0
    for _ in range(rounds):
        brief = Brief.options(name=name, get_if_exists=True).remote()
        done += rayhpc.get(brief.release.remote(), timeout=20)
        del brief
    return done


def test_a_name_leads_to_an_actor_that_lives_or_to_a_new_one(ray: Any) -> None:
    assert take_and_drop(30, "brief") == 30
    inside = ray.remote(take_and_drop)
    assert ray.get(inside.remote(15, "brief inside"), timeout=60) == 15


def test_also_on_another_node(nodes: Any) -> None:
    inside = rayhpc.remote(take_and_drop).options(resources={"far": 0.1})
    assert rayhpc.get(inside.remote(10, "brief and far"), timeout=60) == 10


@pytest.mark.parametrize("default", ["detached", "non_detached"])
def test_a_jobs_actors_have_its_default_lifetime(run_program: Any, default: str) -> None:
    run_program(
        f"""
        import os, time, rayhpc
        from rayhpc.job_config import JobConfig

        rayhpc.init("local", num_cpus=1, job_config=JobConfig(default_actor_lifetime={default!r}))

        @rayhpc.remote(num_cpus=0)
        class Child:
            def ping(self):
                return 1

        @rayhpc.remote(num_cpus=0, lifetime="non_detached")
        class Parent:
            def child(self, **options):
                self.made = Child.options(**options).remote()
                rayhpc.get(self.made.ping.remote())
                return self.made

            def end(self):
                os._exit(1)

        parent = Parent.remote()
        child = rayhpc.get(parent.child.remote(), timeout=30)
        other = rayhpc.get(parent.child.remote(lifetime="non_detached"), timeout=30)
        parent.end.remote()
        for actor, lives in ((other, False), (child, {default!r} == "detached")):
            while not lives:
                try:
                    rayhpc.get(actor.ping.remote(), timeout=20)
                except rayhpc.exceptions.ActorDiedError:
                    break
            if lives:
                assert rayhpc.get(actor.ping.remote(), timeout=20) == 1
        try:
            JobConfig(default_actor_lifetime="for ever")
        except ValueError as error:
            assert "non_detached" in str(error)
        else:
            raise AssertionError
        """
    )
