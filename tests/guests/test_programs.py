"""Ways of use of Ray that programs in the wild rely on, in a program that knows only `ray`."""

from __future__ import annotations

from tests.guests.conftest import Guest


def test_a_served_cluster_looks_like_rays(guest: Guest) -> None:
    output = guest(
        """
        import asyncio, importlib.metadata, os, subprocess, sys
        import ray
        import ray.util.queue
        from ray.util import ActorPool
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        @ray.remote
        def inside():
            import importlib.metadata
            import ray, ray.util.queue, rayhpc
            assert ray.get is rayhpc.get and ray.is_initialized()
            assert ray.util.queue.Queue is rayhpc.util.queue.Queue
            child = "import ray; print(ray.__version__)"
            started = subprocess.run([sys.executable, "-c", child], check=True, text=True,
                                     capture_output=True)
            return ray.__version__, importlib.metadata.version("ray"), started.stdout.strip()

        # The first call starts, or here joins, the cluster.
        assert ray.get(inside.remote()) == ("2.58.0",) * 3
        context = ray.init(num_cpus=2, include_dashboard=False, _redis_password="x", _memory=10**9,
                           ignore_reinit_error=True)
        assert "dashboard_url" in dir(context) and context["node_id"]
        assert importlib.metadata.version("ray") == ray.__version__

        @ray.remote
        class Counter:
            def __init__(self):
                self.n = 0

            def add(self, k=1):
                self.n += k
                return self.n

        actor = Counter.remote()
        assert ray.get(actor.add.remote(2)) == 2
        row = ray._private.state.actors(actor._ray_actor_id.hex())
        assert row["Address"]["NodeID"] == ray.nodes()[0]["NodeID"]
        assert [x.state for x in ray.util.state.list_actors(
            filters=[("actor_id", "=", actor._actor_id.hex())], limit=10)] == ["ALIVE"]

        pool = ActorPool([Counter.remote() for _ in range(2)])
        assert sorted(pool.map(lambda a, v: a.add.remote(v), [1, 1])) == [1, 1]

        queue = ray.util.queue.Queue(maxsize=2)
        queue.put(1)
        assert queue.get() == 1

        group = placement_group([{"CPU": 1}])
        assert ray.get(group.ready(), timeout=20) and group.wait(20)
        strategy = PlacementGroupSchedulingStrategy(placement_group=group)
        assert ray.get(inside.options(scheduling_strategy=strategy).remote())[0] == "2.58.0"
        table = ray._private.state.state.placement_group_table(group.id)
        assert table["bundles_to_node_id"][0] == ray.nodes()[0]["NodeID"]
        ray.util.remove_placement_group(group)
        none = PlacementGroupSchedulingStrategy(placement_group=None)
        assert ray.get(inside.options(scheduling_strategy=none).remote())[0] == "2.58.0"

        # References are awaitable, hashable, and become futures.
        async def main():
            refs = [inside.remote() for _ in range(3)]
            found = await asyncio.gather(*refs)
            shielded = await asyncio.shield(refs[0])
            done, _ = await asyncio.wait([asyncio.wrap_future(x.future()) for x in refs])
            return found + [shielded] + [x.result() for x in done]

        assert set(asyncio.run(main())) == {("2.58.0",) * 3}
        refs = {inside.remote(): i for i in range(3)}
        ready, _ = ray.wait(list(refs), num_returns=3)
        assert sorted(refs[x] for x in ready) == [0, 1, 2]
        assert refs.keys() == set(ready)

        locations = ray.experimental.get_object_locations([ray.put(b"x" * 10**6)])
        assert [len(x["node_ids"]) for x in locations.values()] == [1]
        try:
            actor.nothing.remote()
        except AttributeError as error:
            assert "add" in str(error)
        print("all", ray.services.get_node_ip_address() == ray.nodes()[0]["NodeManagerAddress"])
        """
    )
    assert "all True" in output.splitlines()


def test_modules_of_rays_are_sent_by_name(guest: Guest) -> None:
    output = guest(
        """
        import ray, ray._private.worker
        from ray.util import placement_group as module
        from ray.util.placement_group import placement_group

        def flag():
            ray._private.worker.blocking_get_inside_async_warned = True
            return "flag"

        def whole_name():
            group = ray.util.placement_group([{"CPU": 1}])
            ray.get(group.ready())
            ray.util.remove_placement_group(group)
            return "whole name"

        def function():
            group = placement_group([{"CPU": 1}])
            ray.get(group.ready())
            ray.util.remove_placement_group(group)
            return "function"

        def called():
            group = module([{"CPU": 1}])
            ray.get(group.ready())
            ray.util.remove_placement_group(group)
            return "module"

        class Actor:
            def go(self):
                return [f() for f in (flag, whole_name, function, called)]

            async def later(self):
                return flag()

        every = (flag, whole_name, function, called)
        print([ray.get(ray.remote(num_cpus=0)(f).remote()) for f in every])
        print(ray.get(ray.remote(num_cpus=0)(Actor).remote().go.remote()))
        print(ray.get(ray.put([module]))[0] is module)
        """
    )
    names = "['flag', 'whole name', 'function', 'module']"
    assert output.splitlines() == [names, names, "True"]


def test_what_programs_and_their_tests_ask_beyond_the_public_names(guest: Guest) -> None:
    output = guest(
        """
        import ray
        from ray._private.internal_api import free, memory_summary
        from ray._private.worker import BaseContext

        context = ray.init()
        assert isinstance(context, BaseContext) and not isinstance({}, BaseContext)
        large, small = ray.put(b"x" * 2_000_000), ray.put(1)
        assert "2.00" not in memory_summary(stats_only=True)
        assert large.hex() in memory_summary(context.address_info["address"], units="MB")
        assert memory_summary(group_by="STACK_TRACE", sort_by="PID", num_entries=1)
        place = ray.experimental.get_local_object_locations([large])[large]
        assert place["object_size"] >= 2_000_000 and len(place["node_ids"]) == 1
        ray.internal.free([large])
        free(small)
        for ref in (large, small):
            try:
                ray.get(ref)
            except ray.exceptions.ObjectFreedError:
                print("freed")

        @ray.remote
        class Broken:
            def __init__(self):
                raise ValueError("no")

            def go(self):
                pass

        try:
            ray.get(Broken.remote().go.remote())
        except ray.exceptions.RayActorError as error:
            print(error.actor_init_failed, error.preempted, "no" in error.error_msg)
        """
    )
    assert output.splitlines() == ["freed", "freed", "True False True"]


def test_a_graph_written_for_ray(guest: Guest) -> None:
    output = guest(
        """
        import ray
        from ray.dag import InputNode, MultiOutputNode
        from ray.dag.input_node import InputNode as Again

        @ray.remote
        def double(x):
            return 2 * x

        @ray.remote
        class Adder:
            def __init__(self, by):
                self.by = by

            def add(self, x):
                return x + self.by

        living = Adder.remote(100)
        with InputNode() as given:
            made = Adder.bind(10)
            doubled = made.add.bind(double.bind(given.x))
            graph = MultiOutputNode([doubled, living.add.bind(given[0])])
        assert Again is InputNode is ray.dag.InputNode
        print(ray.get(graph.execute(1, x=3)))
        compiled = graph.experimental_compile()
        print(ray.get(compiled.execute(1, x=4)))
        """
    )
    assert [x for x in output.splitlines() if x[0] == "["] == ["[16, 101]", "[18, 101]"]
