"""What was kept from a cluster that this program has left is refused, wherever it is used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# In the second cluster the same nodes, processes and sequence numbers come again, and belong to
# somebody else.
KEPT = """
import asyncio, os, pickle
import pytest
import rayhpc as ray
from rayhpc.cluster_utils import Cluster
from rayhpc.util import placement_group, placement_group_table, remove_placement_group
from rayhpc.util.scheduling_strategies import PlacementGroupSchedulingStrategy

nodes = int(os.environ["NODES"])

def begin():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=2)
    cluster.connect()
    cluster.wait_for_nodes()
    return cluster

def end(cluster):
    ray.shutdown()
    cluster.shutdown()

@ray.remote(num_cpus=0)
class Account:
    def __init__(self, name):
        self.name = name
        self.kept = [ray.put(name) for _ in range(30)]
    def who(self):
        return self.name

@ray.remote(num_cpus=0)
def same(x):
    return x

@ray.remote(num_cpus=0)
def count(n):
    for i in range(n):
        yield i

first = begin()
account = Account.remote("old")
named = Account.options(name="n", lifetime="detached").remote("old")
assert ray.get([account.who.remote(), named.who.remote()]) == ["old", "old"]
found = ray.get_actor("n")
ref, result, generator = ray.put("old"), same.remote("old"), count.remote(3)
ray.get([result, generator.completed()])
pickled = pickle.dumps([ref, result])

def with_value(kept):
    @ray.remote(num_cpus=0)
    def task():
        return ray.get(kept) if isinstance(kept, ray.ObjectRef) else ray.get(kept.who.remote())
    @ray.remote(num_cpus=0)
    class Actor:
        def method(self):
            return ray.get(kept)
    return task, Actor

definitions = [with_value(x) for x in (ref, account, found)]
assert ray.get([task.remote() for task, _ in definitions]) == ["old"] * 3
makers = [Actor.remote() for _, Actor in definitions[:1]]
assert ray.get(makers[0].method.remote()) == "old"
group = placement_group([{"CPU": 0.01}])
assert group.wait(20)
end(first)

second = begin()
others = [Account.remote("somebody else") for _ in range(4)]
assert set(ray.get([x.who.remote() for x in others])) == {"somebody else"}
mine = [ray.put("mine") for _ in range(20)]

async def awaited(x):
    return await x

def refused():
    # Programs catch it as a RaySystemError too, and know it of Ray by its words.
    assert issubclass(ray.exceptions.OtherClusterError, ray.exceptions.RaySystemError)
    return pytest.raises(ValueError, match="Ray object whose owner is unknown.*has left")
"""

KINDS = {
    "values": """
        for old in (ref, result):
            for use in (
                lambda: ray.get(old, timeout=60),
                lambda: ray.get([mine[0], old], timeout=60),
                lambda: ray.wait([old], timeout=60),
                lambda: ray.wait([mine[0], old], num_returns=2, timeout=60),
                lambda: ray.cancel(old),
                lambda: old.future(),
                lambda: asyncio.run(awaited(old)),
                lambda: ray.internal.free([old]) if hasattr(ray, "internal") else ray.get(old),
            ):
                with refused():
                    use()
    """,
    "arguments": """
        for old in (ref, result, account, named, found, group):
            for use in (
                lambda: same.remote(old),
                lambda: same.remote(x=old),
                lambda: same.remote([{1: old}]),
                lambda: Account.remote(old),
                lambda: others[0].__ray_call__.remote(lambda self: old),
                lambda: ray.put([old]),
                lambda: ray.remote(lambda: old).remote(),
                lambda: ray.remote(type("A", (), {"kept": old})).remote(),
            ):
                with refused():
                    use()
    """,
    "definitions": """
        for task, Actor in definitions:
            for use in (
                task.remote, task.options(name="x").remote, Actor.remote, lambda: same.remote(task)
            ):
                with refused():
                    use()
    """,
    "actors": """
        for old in (account, named, found):
            with refused():
                old.who.remote()
            with refused():
                ray.kill(old)
        assert set(ray.get([x.who.remote() for x in others])) == {"somebody else"}
    """,
    "generators": """
        for use in (
            lambda: next(generator),
            lambda: ray.wait([generator], timeout=60),
            lambda: ray.cancel(generator),
            lambda: ray.get(generator.completed()),
        ):
            with refused():
                use()
        generator.close()
    """,
    "groups": """
        strategy = PlacementGroupSchedulingStrategy(group)
        for use in (
            lambda: group.wait(60),
            lambda: group.ready(),
            lambda: remove_placement_group(group),
            lambda: placement_group_table(group),
            lambda: same.options(scheduling_strategy=strategy).remote(1),
            lambda: Account.options(scheduling_strategy=strategy).remote(1),
        ):
            with refused():
                use()
    """,
    "pickles": """
        for loaded in pickle.loads(pickled):
            with refused():
                ray.get(loaded, timeout=60)
        with refused():
            ray.get(ray.ObjectRef(ref.binary()), timeout=60)
    """,
}


@pytest.mark.parametrize("nodes", [1, 2])
def test_what_is_of_an_earlier_cluster_is_refused(run_program: Run, nodes: int) -> None:
    # One program for all kinds: each line that is not refused names its place in the traceback.
    lines = "".join(text.replace("\n        ", "\n") for text in KINDS.values())
    last = "\nassert ray.get(mine[3]) == 'mine'\ndel old, loaded, pickled, ref, result\n"
    run_program(KEPT + lines + last + "end(second)\n", env={"NODES": str(nodes)})
