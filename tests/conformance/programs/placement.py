"""Placement groups and scheduling strategies on one node."""

import ray
from observing import case, got, main, outcome, raised, say, until
from ray.util import (
    get_current_placement_group,
    get_placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)


def made(bundles, **kwargs):
    group = placement_group(bundles, **kwargs)
    ray.get(group.ready(), timeout=25)
    return group


def strategy(group, **kwargs):
    return PlacementGroupSchedulingStrategy(placement_group=group, **kwargs)


def gone(group):
    remove_placement_group(group)
    return until(lambda: placement_group_table(group)["state"] == "REMOVED")


@ray.remote
def group_id():
    group = get_current_placement_group()
    return None if group is None else group.id.hex()


@ray.remote
class Actor:
    def group(self):
        group = get_current_placement_group()
        return None if group is None else group.id.hex()

    def child(self):
        return ray.get(group_id.remote())


@case
def making_and_removing():
    group = placement_group([{"CPU": 1}, {"CPU": 1}], name="mine", strategy="PACK")
    say(type(group).__name__, isinstance(group, PlacementGroup), group.bundle_count)
    say(group.bundle_specs == [{"CPU": 1}] * 2, group.wait(20))
    say(type(group.ready()).__name__, type(ray.get(group.ready())).__name__)
    table = placement_group_table(group)
    say(table["name"], table["strategy"], table["bundles"], table["state"])
    say(sorted(table), table["stats"]["scheduling_state"] != "")
    say(table["placement_group_id"] == group.id.hex())
    say(list(table["bundles_to_node_id"].values()) == [ray.nodes()[0]["NodeID"]] * 2)
    say(group.id.hex() in placement_group_table())
    say(get_placement_group("mine").id == group.id)
    say(outcome(get_placement_group, "nobody"))
    say(gone(group))
    say(outcome(get_placement_group, "mine"))


@case
def pending_until_there_is_room():
    first = made([{"CPU": 3}])
    second = placement_group([{"CPU": 3}])
    say(second.wait(0.2), placement_group_table(second)["state"])
    say(outcome(ray.get, second.ready(), timeout=0.2))
    gone(first)
    say(second.wait(20), placement_group_table(second)["state"])
    gone(second)


@case
def reserved_resources_are_taken():
    group = made([{"CPU": 3}])
    say(until(lambda: ray.available_resources().get("CPU") == 1))
    say(
        got(group_id.options(scheduling_strategy=strategy(group), num_cpus=3).remote())
        == repr(group.id.hex())
    )
    gone(group)
    say(until(lambda: ray.available_resources().get("CPU") == 4))


@case
def children_inherit_only_with_capture():
    group = made([{"CPU": 2}])

    @ray.remote(num_cpus=1)
    def parent(escape=False):
        child = group_id.options(scheduling_strategy=strategy(None)) if escape else group_id
        return ray.get(child.remote())

    say(got(parent.options(scheduling_strategy=strategy(group)).remote()))
    capture = strategy(group, placement_group_capture_child_tasks=True)
    say(got(parent.options(scheduling_strategy=capture).remote()) == repr(group.id.hex()))
    say(got(parent.options(scheduling_strategy=capture).remote(True)))
    actor = Actor.options(num_cpus=1, scheduling_strategy=capture).remote()
    say(got(actor.group.remote()) == got(actor.child.remote()) == repr(group.id.hex()))
    del actor
    say(got(group_id.remote()))
    gone(group)


@case
def removal_kills_its_actors():
    group = made([{"CPU": 1}])
    actor = Actor.options(num_cpus=1, scheduling_strategy=strategy(group)).remote()
    ray.get(actor.group.remote())
    gone(group)
    say(until(lambda: raised(ray.get, actor.group.remote(), timeout=20) is not None))
    say(type(raised(ray.get, actor.group.remote(), timeout=20)).__name__)


@case
def queued_tasks_of_a_removed_group():
    group = made([{"CPU": 1}])

    @ray.remote(num_cpus=1, max_retries=0)
    def sleep():
        import time

        time.sleep(30)

    hold = sleep.options(scheduling_strategy=strategy(group)).remote()
    queued = group_id.options(num_cpus=1, scheduling_strategy=strategy(group)).remote()
    say(outcome(ray.get, queued, timeout=1))
    remove_placement_group(group)
    say(got(queued), got(hold))


@case
def submitted_to_a_removed_group():
    group = made([{"CPU": 1}])
    gone(group)
    say(got(group_id.options(num_cpus=1, scheduling_strategy=strategy(group)).remote()))
    actor = Actor.options(num_cpus=1, scheduling_strategy=strategy(group)).remote()
    say(got(actor.group.remote()).startswith("raises Actor"))


@case
def bundle_indexes():
    group = made([{"CPU": 1}, {"CPU": 1}])
    for index in (-1, 0, 1):
        options = {"scheduling_strategy": strategy(group, placement_group_bundle_index=index)}
        say(index, got(group_id.options(num_cpus=1, **options).remote()) == repr(group.id.hex()))
    for index in (-2, 2):
        options = {"scheduling_strategy": strategy(group, placement_group_bundle_index=index)}
        say(index, outcome(lambda o=options: group_id.options(num_cpus=1, **o).remote()))
    say(
        outcome(
            lambda: group_id.options(
                scheduling_strategy=strategy(None, placement_group_bundle_index=1)
            ).remote()
        )
    )
    gone(group)


@case
def demands_that_no_bundle_can_meet():
    group = made([{"CPU": 1}])
    options = {"scheduling_strategy": strategy(group)}
    say(outcome(lambda: group_id.options(num_cpus=2, **options).remote()))
    say(outcome(lambda: group_id.options(resources={"none": 1}, **options).remote()))
    say(outcome(lambda: Actor.options(num_cpus=2, **options).remote()))
    gone(group)


@case
def bundles_are_checked():
    for bundles in (
        [],
        [{}],
        [{"CPU": 0}],
        "x",
        [{"CPU": "1"}],
        [1],
        None,
        [{"CPU": 1}, {}],
        {"CPU": 1},
    ):
        say(bundles, raised(lambda x=bundles: placement_group(x)) is not None)
    say(outcome(lambda: placement_group([{"CPU": 1}], strategy="ANY")))
    say(outcome(lambda: placement_group([{"CPU": 1}], lifetime="forever")))
    say(outcome(lambda: placement_group([{"CPU": 1}], name=1)))


@case
def fractions_and_gpus():
    group = made([{"CPU": 0.5, "GPU": 0.5}])

    @ray.remote(num_cpus=0.5, num_gpus=0.5)
    def gpus():
        return len(ray.get_gpu_ids())

    say(got(gpus.options(scheduling_strategy=strategy(group)).remote()))
    gone(group)


@case
def affinity_to_a_node():
    here = ray.nodes()[0]["NodeID"]

    @ray.remote
    def where():
        return ray.get_runtime_context().get_node_id() == here

    def on(node, soft):
        return where.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft))

    say(got(on(here, False).remote()), got(on(here, True).remote()))
    nowhere = ray.NodeID.from_random().hex()
    say(got(on(nowhere, False).remote()), got(on(nowhere, True).remote()))
    bad = NodeAffinitySchedulingStrategy(nowhere, soft=False)
    actor = Actor.options(scheduling_strategy=bad).remote()
    say(got(actor.group.remote()))
    say(outcome(NodeAffinitySchedulingStrategy, "xyz", soft=False).startswith("raises"))


@case
def the_old_arguments():
    group = made([{"CPU": 1}])
    remote = group_id.options(placement_group=group, num_cpus=1)
    say(got(remote.remote()) == repr(group.id.hex()))
    remote = group_id.options(placement_group=group, placement_group_bundle_index=0, num_cpus=1)
    say(got(remote.remote()) == repr(group.id.hex()))
    gone(group)


@case
def groups_travel():
    group = made([{"CPU": 1}])

    @ray.remote(num_cpus=0)
    def use(group):
        options = {"num_cpus": 1, "scheduling_strategy": strategy(group)}
        return ray.get(group_id.options(**options).remote()), group.bundle_count

    say(got(use.remote(group)) == repr((group.id.hex(), 1)))
    say(group == ray.get(ray.put(group)), hash(group) == hash(ray.get(ray.put(group))))
    gone(group)


@case
def in_a_driver():
    say(get_current_placement_group())
    say(ray.util.placement_group is not None, callable(ray.util.placement_group))
    group = ray.util.placement_group([{"CPU": 1}])
    say(group.wait(timeout_seconds=20))
    gone(group)


if __name__ == "__main__":
    main(num_gpus=1)
