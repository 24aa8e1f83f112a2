"""Which machines are kept, asked for and ended, where a place makes them."""

from __future__ import annotations

import pytest

from rayhpc.clusters.errors import ClusterFileError
from rayhpc.clusters.machine_plan import MachinePlan, MachineTypes, machine_types, plan_machines
from rayhpc.clusters.read import read
from rayhpc.elastic.types import MachineState, NodeType
from rayhpc.providers.machines import Rented, print_of
from tests.clusters import files

HEAD = NodeType("h", min_nodes=1, max_nodes=1, options={"InstanceType": "big"})
WORKER = NodeType("w", min_nodes=2, max_nodes=3, options={"InstanceType": "small"})
TYPES = MachineTypes(HEAD, (WORKER,))


def there(name: str, kind: NodeType = WORKER, *, over: bool = False, made_of: str = "") -> Rented:
    state = MachineState.ENDED if over else MachineState.RUNNING
    return Rented(name, kind.name, state, made_of=made_of or print_of(kind))


def names(plan: MachinePlan) -> tuple[list[str], list[str], list[str]]:
    kept, ended = [x.name for x in plan.keep], [x.name for x, _ in plan.end]
    return kept, [name for name, _ in plan.ask], ended


def test_from_nothing_the_head_is_asked_for_first() -> None:
    assert names(plan_machines(TYPES, 3, [])) == ([], ["head-1", "w-1", "w-2"], [])


def test_what_is_there_is_kept_and_what_demand_has_added_as_well() -> None:
    machines = [there("w-3"), there("w-1"), there("head-1", HEAD), there("w-2")]
    assert names(plan_machines(TYPES, 3, machines)) == (["head-1", "w-1", "w-2", "w-3"], [], [])
    fewer = plan_machines(TYPES, 2, machines)
    assert names(fewer) == (["head-1", "w-1", "w-2"], [], ["w-3"])
    assert fewer.end[0][1] == "the file does not want so many"


def test_names_of_ended_machines_are_not_given_again() -> None:
    machines = [there("head-1", HEAD, over=True), there("w-1"), there("w-7", over=True)]
    assert names(plan_machines(TYPES, 3, machines)) == (["w-1"], ["head-2", "w-8"], [])


def test_another_node_config_means_another_machine() -> None:
    machines = [there("head-1", HEAD), there("w-1", made_of="old"), there("w-2")]
    plan = plan_machines(TYPES, 3, machines)
    assert names(plan) == (["head-1", "w-2"], ["w-3"], ["w-1"])
    assert plan.end[0][1] == "changed: node_config"


def test_machines_of_a_type_that_is_no_more_are_ended() -> None:
    machines = [there("head-1", HEAD), there("x-1", NodeType("x"))]
    assert names(plan_machines(TYPES, 3, machines)) == (["head-1"], ["w-1", "w-2"], ["x-1"])


def test_types_come_from_the_file_and_min_workers_is_a_floor_for_all() -> None:
    types = machine_types(read(files.AWS_FULL, "c.yaml"))
    assert (types.head.name, types.head.options["InstanceType"]) == (
        "ray.head.default",
        "m6i.large",
    )
    (worker,) = types.workers
    assert (worker.min_nodes, worker.max_nodes, worker.idle_seconds) == (1, 2, 300)
    (worker,) = machine_types(read(f"min_workers: 2\n{files.AWS_FULL}", "c.yaml")).workers
    assert worker.min_nodes == 2
    types = machine_types(read("cluster_name: c\nprovider: {type: aws}\n", "c.yaml"))
    assert [x.name for x in types.all] == ["ray.head.default", "ray.worker.default"]


def test_a_workers_type_may_not_be_called_as_the_head_is() -> None:
    text = (
        "cluster_name: c\nprovider: {type: aws}\nhead_node_type: a\n"
        "available_node_types:\n  a: {}\n  head: {min_workers: 1}\n"
    )
    with pytest.raises(ClusterFileError, match="line 6: .*would be taken for the head's"):
        machine_types(read(text, "c.yaml"))
