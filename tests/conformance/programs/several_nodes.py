"""Two nodes: strategies, spreading, groups, a node's end."""

import time

import ray
from observing import case, got, main, raised, say, until
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

cluster = Cluster(
    initialize_head=True,
    head_node_args={
        "num_cpus": 2,
        "resources": {"head": 1},
        "labels": {"zone": "near"},
        "include_dashboard": False,
    },
)
second = cluster.add_node(num_cpus=2, resources={"far": 1}, labels={"zone": "far"})
ray.init(address=cluster.address, log_to_driver=False)
cluster.wait_for_nodes()


def by_resource(name):
    return next(x["NodeID"] for x in ray.nodes() if x["Alive"] and name in x["Resources"])


@ray.remote(num_cpus=1)
def where(seconds=0.0):
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()


@ray.remote(num_cpus=1)
class Where:
    def where(self):
        return ray.get_runtime_context().get_node_id()


@case
def what_there_is():
    say(len([x for x in ray.nodes() if x["Alive"]]), ray.cluster_resources()["CPU"])
    say(sorted(x["Labels"].get("zone") for x in ray.nodes()))


@case
def custom_resources_choose_the_node():
    say(ray.get(where.options(resources={"far": 1}).remote()) == by_resource("far"))
    say(ray.get(where.options(resources={"head": 0.1}).remote()) == by_resource("head"))


@case
def affinity():
    far = by_resource("far")
    hard = NodeAffinitySchedulingStrategy(far, soft=False)
    say(ray.get(where.options(scheduling_strategy=hard).remote()) == far)
    actor = Where.options(scheduling_strategy=hard).remote()
    say(ray.get(actor.where.remote()) == far)


@case
def labels():
    far = by_resource("far")
    say(ray.get(where.options(label_selector={"zone": "far"}).remote()) == far)
    say(ray.get(where.options(label_selector={"zone": "!near"}).remote()) == far)
    say(ray.get(where.options(label_selector={"zone": "in(far, other)"}).remote()) == far)
    from ray.util.scheduling_strategies import In

    strategy = NodeLabelSchedulingStrategy(hard={"zone": In("far")})
    actor = Where.options(scheduling_strategy=strategy).remote()
    say(ray.get(actor.where.remote()) == far)


@case
def spreading():
    spread = where.options(scheduling_strategy="SPREAD")
    say(len(set(ray.get([spread.remote(0.5) for _ in range(4)], timeout=30))))


@case
def all_cpus_are_used():
    say(len(set(ray.get([where.remote(1) for _ in range(4)], timeout=30))))


@case
def groups():
    for strategy, count in (("STRICT_SPREAD", 2), ("STRICT_PACK", 1), ("PACK", 1)):
        group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy=strategy)
        ray.get(group.ready(), timeout=25)
        nodes = placement_group_table(group)["bundles_to_node_id"]
        say(strategy, len(set(nodes.values())) == count)
        options = [PlacementGroupSchedulingStrategy(group, i) for i in range(2)]
        found = [where.options(scheduling_strategy=x).remote() for x in options]
        say(ray.get(found, timeout=25) == [nodes[0], nodes[1]])
        remove_placement_group(group)
        until(lambda: ray.available_resources().get("CPU") == 4)


@case
def impossible_groups_stay_pending():
    group = placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
    say(group.wait(0.5), placement_group_table(group)["state"])
    remove_placement_group(group)


@case
def objects_cross():
    @ray.remote(resources={"far": 0.1})
    def make():
        return b"x" * 3_000_000

    @ray.remote(resources={"head": 0.1})
    def length(x):
        return len(x)

    ref = make.remote()
    say(got(length.remote(ref)), len(ray.get(ref)))
    say(got(length.options(resources={"far": 0.1}).remote(ray.put(b"y" * 2_000_000))))


@case
def a_nodes_end():
    far = by_resource("far")
    actor = Where.options(resources={"far": 0.1}, max_restarts=0).remote()
    ray.get(actor.where.remote())

    @ray.remote(max_retries=2)
    def make():
        return b"x" * 2_000_000, ray.get_runtime_context().get_node_id()

    @ray.remote(max_retries=2)
    def items():
        for i in range(3):
            yield bytes([i]) * 1_000_000

    @ray.remote(max_retries=2)
    def other_size():
        here = ray.get_runtime_context().get_node_id()
        return b"x" * (2_000_000 if here == far else 5)

    soft = NodeAffinitySchedulingStrategy(far, soft=True)
    changing = other_size.options(scheduling_strategy=soft).remote()
    stream = list(items.options(scheduling_strategy=soft).remote())
    ray.wait([changing, *stream], num_returns=4, fetch_local=False, timeout=20)
    ref = make.options(scheduling_strategy=soft).remote()
    ray.wait([ref], fetch_local=False, timeout=20)
    cluster.remove_node(second)
    say(until(lambda: not next(x["Alive"] for x in ray.nodes() if x["NodeID"] == far)))
    say(type(raised(ray.get, actor.where.remote(), timeout=25)).__name__)
    value, node = ray.get(ref, timeout=30)
    say(len(value), node == by_resource("head"))
    say([x[:1] + str(len(x)).encode() for x in ray.get(stream, timeout=30)])
    say(len(ray.get(changing, timeout=30)), ray.cluster_resources()["CPU"])


if __name__ == "__main__":
    main(connect=False)
    cluster.shutdown()
