"""Each fault is found in a program that has it, by its figure, and not in one that has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rayhpc.observe import facts
from rayhpc.observe.advice.advice import Advice
from rayhpc.observe.advice.choosing import LOOKS, SHOWN, advice
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import NodeHistory, NodeSample
from tests.observe.generator import BEGIN, Made


def full(nodes: int = 1, cpus: int = 4, seconds: float = 1.0, rounds: int = 20) -> Made:
    """A program that keeps every CPU busy from its start to its end."""
    made = Made(nodes, cpus)
    for turn in range(rounds):
        for place in range(nodes * cpus):
            made.run("work", turn * seconds, seconds, place // cpus, place % cpus)
    return made


def one_at_a_time() -> Made:
    made = Made(cpus=8)
    for i in range(100):
        made.run("work", i * 0.11, 0.1, slot=i % 8)
    return made


def tiny_tasks() -> Made:
    return full(seconds=80e-6, rounds=5_000)


def long_tail() -> Made:
    made = full()
    made.run("work", 20.0, 12.0)
    return made


def large_arguments() -> Made:
    made = Made()
    for i in range(900):
        made.run("train", (i // 4) * 0.1, 0.1, slot=i % 4, sent=40_000_000)
    return made


def spilling() -> Made:
    made = full()
    samples = [
        NodeSample(BEGIN + i, 0, 0, 0, 10**9, 0, Moved(0, 0, i, i * 10**9)) for i in range(8)
    ]
    made.history.append(NodeHistory(1, 1.0, samples))
    return made


def idle_nodes() -> Made:
    made = Made(nodes=2, cpus=4)
    made.nodes[0].info.total["GPU"] = 4 * 10_000
    for i in range(80):
        made.run("infer", (i // 4) * 1.0, 1.0, slot=i % 4, gpus=1.0)
    return made


def lost_runs() -> Made:
    made = full()
    for i in range(20):
        made.run("work", i * 1.0, 0.9, slot=10 + i, error="OSError at a.py:3 in work")
    return made


def driver_alone() -> Made:
    made = full(rounds=5)
    for place in range(4):
        made.run("work", 15.0, 5.0, slot=place)
    return made


def idle_cpus() -> Made:
    made = Made(nodes=8, cpus=4)
    for i in range(40):
        made.run("work", (i // 8) * 1.0, 1.0, i % 8, 0)
    return made


# The fault, and figures that its sentence must name.
FAULTS: list[tuple[Callable[[], Made], list[str]]] = [
    (one_at_a_time, ["100 runs", "one of 8 CPUs"]),
    (tiny_tasks, ["20,000 runs of work", "80 µs"]),
    (long_tail, ["12.0 s", "1.0 of 4 CPUs", "1 run of work", "median: 1.0 s"]),
    (large_arguments, ["40 MB", "train 900 times", "36 GB"]),
    (spilling, ["7 GB", "node n000"]),
    (idle_nodes, ["1 of 2 nodes (n001; 4 CPUs)", "100% of the work asks for a GPU"]),
    (lost_runs, ["18.0 s", "20 runs that failed", "OSError at a.py:3 in work"]),
    (driver_alone, ["10.0 s of 20.0 s", "1 pause between"]),
    (idle_cpus, ["You had 8 nodes and used 2.0", "8.0 of 32 CPUs"]),
]


def found(made: Made) -> list[Advice]:
    return advice(facts.snapshot(made.recording()))


def test_a_last_run_that_is_no_longer_than_the_others_is_not_set_beside_them() -> None:
    made = full(seconds=1.0, rounds=4)
    made.run("work", 4.0, 0.8)
    first = found(made)[0]
    assert first.kind == "long_tail"
    assert first.finding.endswith("the longest for 800 ms.")


@pytest.mark.parametrize(("program", "figures"), FAULTS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_fault_comes_first_with_its_figure(
    program: Callable[[], Made], figures: list[str]
) -> None:
    first = found(program())[0]
    assert first.kind == program.__name__
    for figure in figures:
        assert figure in first.finding
    assert first.saves > 0
    assert first.remedy.endswith(".")


@pytest.mark.parametrize("look", LOOKS, ids=lambda x: x.__module__.rpartition(".")[2])
def test_a_good_program_is_given_no_advice_of_any_kind(look) -> None:  # type: ignore[no-untyped-def]
    assert look(facts.snapshot(full().recording())) is None


def test_every_kind_has_its_faulty_program() -> None:
    kinds = {look.__module__.rpartition(".")[2] for look in LOOKS}
    assert kinds == {program.__name__ for program, _ in FAULTS}


def test_there_are_never_more_than_three() -> None:
    made = large_arguments()
    made.history.extend(spilling().history)
    for i in range(90):
        made.run("work", i * 0.2, 0.2, slot=9, error="OSError")
    made.run("work", 23.0, 20.0)
    shown = found(made)
    assert len(shown) == SHOWN
    assert [x.saves for x in shown] == sorted((x.saves for x in shown), reverse=True)


def test_a_cluster_that_ran_nothing_is_given_none() -> None:
    assert found(Made()) == []
