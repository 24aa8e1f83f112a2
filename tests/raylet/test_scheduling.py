"""Which node a scheduling class goes to, and what is said when none can ever serve it."""

from __future__ import annotations

from collections import Counter

import msgspec

from rayhpc.raylet import scheduling
from rayhpc.raylet.scheduling import Here
from rayhpc.raylet.view import DEBIT_S, ClusterView
from rayhpc.wire.feasibility import END_LABEL
from rayhpc.wire.messages.cluster import Usage
from rayhpc.wire.messages.common import UNIT, Labels, SchedulingClass, Strategy
from tests.raylet.doubles import node_info, units, wanted


def cluster(*cpus: int) -> ClusterView:
    view = ClusterView(1)
    for number, amount in enumerate(cpus, 1):
        view.add(node_info(number, {"disk": "ssd" if number % 2 else "hdd"}, CPU=amount))
    return view


def use(view: ClusterView, number: int, free: float, version: int = 1, pending: int = 0) -> None:
    view.update(Usage(number, units(CPU=free), pending, version))


def choose(view: ClusterView, what: SchedulingClass, here: bool, turn: int = 0) -> tuple[int, bool]:
    found = scheduling.choose(what, view, Here(here, here), turn)
    return found.node, found.now


def test_default_packs_here_then_goes_where_there_is_room() -> None:
    view = cluster(2, 2, 2)
    assert choose(view, wanted(), True) == (1, True)
    use(view, 2, 0)
    assert choose(view, wanted(), False) == (3, True)
    use(view, 3, 0)
    assert choose(view, wanted(), False) == (1, False)


def test_what_was_sent_to_a_node_counts_until_it_reports() -> None:
    view = cluster(1, 1)
    view.debit(2, units(CPU=1), 100.0)
    assert choose(view, wanted(), False) == (1, False)
    use(view, 2, 1)
    assert view.deadline() is None
    assert choose(view, wanted(), False) == (2, True)
    use(view, 2, 0, version=1)  # not newer
    assert choose(view, wanted(), False) == (2, True)


def test_what_was_sent_to_a_node_and_never_came_there_counts_for_a_while() -> None:
    view = cluster(1, 2)
    view.debit(2, units(CPU=1), 100.0)
    view.debit(2, units(CPU=1), 101.0)
    assert choose(view, wanted(), False) == (1, False)
    assert not view.expire(100.0 + DEBIT_S - 0.01)
    assert view.deadline() == 100.0 + DEBIT_S
    assert view.expire(100.0 + DEBIT_S)
    assert (view.nodes[2].available["CPU"], view.nodes[2].pending) == (UNIT, 1)
    assert choose(view, wanted(), False) == (2, True)
    assert view.expire(101.0 + DEBIT_S)
    assert view.deadline() is None


def test_spread_waits_where_fewest_wait() -> None:
    view = cluster(1, 1)
    use(view, 2, 0)
    what = wanted(Strategy("spread"))
    assert scheduling.choose(what, view, Here(), 0).node == 1
    assert scheduling.choose(what, view, Here(waiting=1), 0).node == 2


def test_spread_takes_turns() -> None:
    view = cluster(4, 4, 4)
    what = wanted(Strategy("spread"))
    seen = Counter(choose(view, what, True, turn)[0] for turn in range(9))
    assert seen == {1: 3, 2: 3, 3: 3}


def test_only_a_node_that_is_large_enough_is_waited_for() -> None:
    view = cluster(1, 4, 4)
    use(view, 2, 0, pending=5)
    use(view, 3, 0, pending=2)
    assert choose(view, wanted(CPU=3), False) == (3, False)


def test_hard_affinity_waits_for_its_node_and_soft_goes_elsewhere_when_it_is_gone() -> None:
    view = cluster(1, 1)
    hard = wanted(Strategy("node", node=f"{2:056x}"))
    assert choose(view, hard, True) == (2, True)
    use(view, 2, 0)
    assert choose(view, hard, True) == (2, False)
    soft = wanted(Strategy("node", node=f"{2:056x}", soft=True))
    assert choose(view, soft, True) == (2, False)
    view.remove(2)
    assert choose(view, soft, True) == (1, True)
    refused = scheduling.choose(hard, view, Here(True), 0)
    assert refused.node == 0
    assert "not in the cluster" in refused.text


def test_hard_affinity_to_a_node_that_is_too_small_is_refused() -> None:
    view = cluster(1, 2)
    found = scheduling.choose(wanted(Strategy("node", node=f"{2:056x}"), CPU=3), view, Here(), 0)
    assert found.node == 0
    assert "2 CPU" in found.text


def test_labels() -> None:
    view = cluster(2, 2)
    ssd, hdd = Labels("disk", "in", ["ssd"]), Labels("disk", "in", ["hdd"])
    assert choose(view, wanted(Strategy("labels", hard=[hdd])), True) == (2, True)
    assert choose(view, wanted(Strategy("labels", hard=[Labels("disk", "not_in", ["ssd"])])), True)[
        0
    ] == (2)
    assert choose(view, wanted(Strategy("labels", wish=[hdd])), True) == (2, True)
    use(view, 2, 0)
    # A wish gives way to room; a condition does not.
    assert choose(view, wanted(Strategy("labels", wish=[hdd])), True) == (1, True)
    assert choose(view, wanted(Strategy("labels", hard=[hdd])), True) == (2, False)
    assert choose(view, wanted(Strategy("labels", hard=[ssd])), True) == (1, True)
    for nowhere in (
        wanted(Strategy("labels", hard=[Labels("gpu", "exists")])),
        wanted(Strategy("labels", hard=[hdd]), CPU=3),
    ):
        none = scheduling.choose(nowhere, view, Here(True), 0)
        assert (none.node, none.now, none.stuck) == (1, False, True)
    assert "fits no node" in none.text
    by_id = Labels("ray.io/node-id", "in", [f"{2:056x}"])
    assert choose(view, wanted(Strategy("labels", hard=[by_id])), True) == (2, False)


def test_an_impossible_demand_names_what_the_largest_node_has() -> None:
    view = cluster(2, 16)
    found = scheduling.choose(wanted(CPU=64, GPU=1), view, Here(), 0)
    assert found.node == 1
    assert found.stuck
    assert "64 CPU, 1 GPU fits no node" in found.text
    assert "(host2) has 16 CPU, 0 GPU" in found.text
    assert not scheduling.choose(wanted(CPU=16), view, Here(), 0).stuck


def test_a_leaving_node_takes_nothing() -> None:
    view = cluster(1, 4, 4)
    view.update(Usage(3, units(CPU=4), 0, 1, draining=True))
    assert choose(view, wanted(), False) == (2, True)
    found = scheduling.choose(wanted(), view, Here(True, serves=False), 0)
    assert (found.node, found.now) == (2, True)


def with_gpus(*gpus: int) -> ClusterView:
    view = ClusterView(1)
    for number, amount in enumerate(gpus, 1):
        view.add(node_info(number, CPU=2, **({"GPU": amount} if amount else {})))
    return view


def test_who_wants_no_gpu_spares_nodes_with_them_while_others_have_room() -> None:
    view = with_gpus(2, 0, 0)
    assert choose(view, wanted(), True) == (2, True)
    assert choose(view, wanted(CPU=1, GPU=1), True) == (1, True)
    use(view, 2, 0)
    assert choose(view, wanted(), True) == (3, True)
    use(view, 3, 0)
    assert choose(view, wanted(), True) == (1, True)
    spread = wanted(Strategy("spread"))
    use(view, 2, 2, version=2)
    assert {choose(view, spread, True, turn)[0] for turn in range(4)} == {1, 2}


def test_tasks_go_where_their_data_is_while_there_is_room() -> None:
    view = with_gpus(0, 2, 0)
    near = msgspec.structs.replace(wanted(), near=2)
    assert choose(view, near, True) == (2, True)
    view.update(Usage(2, units(CPU=0, GPU=2), 0, 1))
    assert choose(view, near, True) == (1, True)
    assert choose(view, msgspec.structs.replace(near, near=9), True) == (1, True)
    # Its workers may be idle: they can be called back.
    view.update(Usage(2, units(CPU=0, GPU=2), 0, 2, leased=units(CPU=1)))
    assert choose(view, near, True) == (2, True)


def test_what_was_just_sent_to_where_the_data_is_can_be_recalled_as_well() -> None:
    """The task that makes the data was sent there, and the node's report says nothing new."""
    view = cluster(1, 1)
    near = msgspec.structs.replace(wanted(CPU=1), near=2)
    view.update(Usage(2, units(CPU=0), 0, 1, leased=units(CPU=1)))
    view.debit(2, units(CPU=1), 0.0)
    assert choose(view, near, here=True) == (2, True)
    view.update(Usage(2, units(CPU=0), 0, 2))
    view.debit(2, units(CPU=1), 0.0)
    assert choose(view, near, here=True) == (1, True)


def test_what_says_how_long_it_runs_goes_only_where_that_much_time_is_left() -> None:
    view = cluster(2, 2)
    view.add(node_info(3, {END_LABEL: "1030"}, CPU=2))
    view.add(node_info(4, {END_LABEL: "1090"}, CPU=2))

    def place(what: SchedulingClass) -> scheduling.Choice:
        return scheduling.choose(what, view, Here(at=1000.0), 0)

    bound = [msgspec.structs.replace(wanted(), strategy=Strategy("node", node=f"{n:056x}",
             seconds=60.0)) for n in (3, 4)]  # fmt: skip
    assert place(bound[1]).node == 4
    refused = place(bound[0])
    assert refused.node == 0
    assert "lasts for another 60 s (the last one ends at " in refused.text
    for number in (1, 2, 4):
        del view.nodes[number]
    anywhere = place(msgspec.structs.replace(wanted(), strategy=Strategy(seconds=60.0)))
    assert anywhere.stuck
    assert "ask for less time, or for a longer job" in anywhere.text
    assert not place(msgspec.structs.replace(wanted(), strategy=Strategy(seconds=30.0))).stuck
