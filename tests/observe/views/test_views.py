"""Views say of small programs exactly what is true of them."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from msgspec.structs import replace

from rayhpc.observe import facts
from rayhpc.observe.recording import ActorFacts
from rayhpc.observe.views import timeline as timelines
from rayhpc.observe.views.actors import actors
from rayhpc.observe.views.critical_path import ARGUMENT, DRIVER, ROOM, critical_path
from rayhpc.observe.views.failures import failures
from rayhpc.observe.views.functions import functions, longest
from rayhpc.observe.views.losses import losses
from rayhpc.observe.views.memory import memory
from rayhpc.observe.views.one import actor_page, function_page
from rayhpc.observe.views.overview import overview
from rayhpc.observe.views.stores import stores
from rayhpc.observe.views.timeline import Timeline, timeline
from rayhpc.observe.views.usage import usage
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import NodeHistory, NodeSample, WorkerRow
from tests.observe.generator import BEGIN, Made


def columns(view: Timeline) -> list[np.ndarray]:
    data, at, found = zlib.decompress(base64.b64decode(view.columns)), 0, []
    for kind in ("<u4", "<u4", "<u4", "<u2", "<u1"):
        size = np.dtype(kind).itemsize * view.segments
        found.append(np.frombuffer(data[at : at + size], dtype=kind))
        at += size
    assert at == len(data)
    return found


def test_what_was_used_is_the_time_in_which_workers_were_busy() -> None:
    made = Made(nodes=2, cpus=2)
    made.run("f", 0.0, 10.0, node=0, slot=0)
    made.run("f", 0.0, 5.0, node=0, slot=1)
    made.run("parent", 5.0, 5.0, node=0, slot=1, waited=5.0)
    seen = overview(facts.snapshot(made.recording(asked_nodes=3)))
    assert (seen.nodes_asked, seen.nodes_given, seen.cpus_given) == (3, 2, 4.0)
    assert seen.cpus_used == pytest.approx(1.5, rel=0.01)
    assert seen.nodes_used == pytest.approx(0.75, rel=0.01)


def test_a_node_is_never_busier_than_it_can_be_and_threads_are_one_worker() -> None:
    made = Made(nodes=1, cpus=1)
    for slot in range(3):
        made.run("sleeps", 0.0, 4.0, slot=slot)
        made.run("thread", 1.0, 2.0, slot=slot, actor=b"a" * 16)
    seen = usage(facts.snapshot(made.recording()))
    assert seen.nodes[0].busy == pytest.approx(1.0)
    assert max(seen.nodes[0].percent) == 100


def test_what_was_held_comes_from_the_heartbeats() -> None:
    made = Made(nodes=1, cpus=4)
    made.run("f", 0.0, 10.0)
    samples = [NodeSample(BEGIN + i, (4 - i % 2) * 10_000, 0, 0, 0, 0, Moved()) for i in range(10)]
    made.history.append(NodeHistory(1, 1.0, samples))
    seen = usage(facts.snapshot(made.recording()))
    assert set(seen.reserved) == {0.0, 1.0}


def test_few_runs_are_segments_of_their_own() -> None:
    made = Made(nodes=1, cpus=2)
    made.run("a", 1.0, 0.5, slot=0)
    made.run("b", 2.0, 0.5, slot=0, error="E")
    made.run("a", 0.25, 4.0, slot=1)
    view = timeline(facts.snapshot(made.recording()))
    gap, length, runs, function, percent = columns(view)
    assert [x.segments for x in view.lanes] == [2, 1]
    assert (gap * view.tick).tolist() == pytest.approx([1.0, 1.0, 0.25], abs=1e-5)
    assert (length * view.tick).tolist() == pytest.approx([0.5, 0.5, 4.0], abs=1e-5)
    assert runs.tolist() == [1, 1, 1]
    assert [view.functions[i] for i in function] == ["a", "b", "a"]
    assert percent.tolist() == [100, 228, 100]
    assert not view.is_merged


def test_many_runs_are_merged_into_segments_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timelines, "SEGMENTS_MOST", 200)
    made = Made(nodes=2, cpus=2)
    for i in range(4_000):
        made.run("short" if i % 10 else "long", (i // 4) * 0.01, 0.005, i % 2, i // 2 % 2)
    view = timeline(facts.snapshot(made.recording()))
    _, _, runs, _, percent = columns(view)
    assert view.is_merged
    assert view.segments <= 210
    assert int(runs.sum()) == 4_000
    assert percent.mean() == pytest.approx(50, abs=6)


def test_functions_have_their_counts_and_quantiles() -> None:
    made = Made()
    for i in range(100):
        made.run("f", float(i), 0.01 * (i + 1), error="E" if i == 0 else "", attempt=int(i == 1))
    made.run("g", 200.0, 3.0, sent=2_000_000)
    rows = {x.name: x for x in functions(facts.snapshot(made.recording()))}
    f = rows["f"]
    assert (f.count, f.failed, f.retried) == (100, 1, 1)
    assert (f.p50, f.p99, f.longest) == pytest.approx((0.50, 0.99, 1.0))
    assert (rows["g"].large_calls, rows["g"].large_bytes) == (1, 2_000_000)
    assert longest(facts.snapshot(made.recording()))[0].function == "g"


def test_a_function_names_the_node_on_which_it_took_most_time() -> None:
    made = Made(nodes=3)
    for node, seconds in ((0, 1.0), (2, 5.0), (1, 2.0)):
        made.run("f", 0.0, seconds, node=node)
    made.run("g", 6.0, 1.0, node=1)
    rows = {x.name: x for x in functions(facts.snapshot(made.recording()))}
    assert (rows["f"].node, rows["f"].node_share) == ("n002", pytest.approx(5 / 8))
    assert (rows["g"].node, rows["g"].node_share) == ("n001", 1.0)


def test_the_wait_for_room_begins_when_the_last_argument_is_there() -> None:
    made = Made()
    a = made.run("load", 0.0, 1.0)
    b = made.run("load", 0.0, 2.0, slot=1)
    made.run("use", 5.0, 1.0, sources=[a, b])
    rows = {x.name: x for x in functions(facts.snapshot(made.recording()))}
    assert (rows["use"].for_room, rows["use"].for_room_of) == (pytest.approx(3.0), 1)
    assert rows["load"].for_room_of == 0


def test_a_run_waits_from_its_submission_for_its_arguments_and_then_for_room() -> None:
    made = Made()
    a = made.run("load", 0.5, 1.5, submitted=0.0)
    made.run("use", 5.0, 1.0, sources=[a], submitted=0.5)
    made.run("use", 7.0, 1.0, sources=[a], submitted=4.0)
    # Its wait is the first attempt's.
    made.run("use", 60.0, 1.0, sources=[a], submitted=4.0, attempt=1)
    made.run("A.call", 9.0, 1.0, submitted=7.0, actor=b"a" * 16)
    rows = {x.name: x for x in functions(facts.snapshot(made.recording()))}
    waits = {x: (row.for_arguments, row.for_room, row.for_room_of) for x, row in rows.items()}
    assert waits["load"] == pytest.approx((0.0, 0.5, 1))
    assert waits["use"] == pytest.approx((1.5, 3.0 + 3.0 + 58.0, 3))
    assert waits["A.call"] == pytest.approx((0.0, 2.0, 1))


def test_the_page_of_one_function_or_actor_has_the_same_figures() -> None:
    made = Made()
    a = made.run("load", 0.5, 1.5, submitted=0.0)
    made.run("use", 5.0, 1.0, sources=[a], submitted=0.5)
    made.run("A.call", 9.0, 1.0, sources=[a], submitted=1.0, actor=b"a" * 16)
    whole = facts.snapshot(made.recording())
    rows = {x.name: x for x in functions(whole)}
    (row,) = function_page(whole, "use").functions
    assert (row.for_arguments, row.for_room) == pytest.approx((1.5, 3.0))
    (row,) = actor_page(whole, (b"a" * 16).hex()).functions
    assert (row.for_arguments, row.for_room) == pytest.approx((1.0, 7.0))
    assert rows["A.call"].for_room == row.for_room


def test_memory_is_shown_over_time_and_by_node_the_fullest_first() -> None:
    made = Made(nodes=3)
    made.run("f", 0.0, 10.0)
    for node, limit in ((1, 1_000), (2, 500), (3, 0)):
        samples = [NodeSample(BEGIN + i, 0, 0, 0, 0, 0, Moved(), 40 * i, limit) for i in range(11)]
        made.history.append(NodeHistory(node, 1.0, samples))
    seen = memory(facts.snapshot(made.recording()))
    assert [(x.node, x.used_most, x.percent[-1]) for x in seen.nodes] == [
        ("n001", 400, 100),
        ("n000", 400, 100),
    ]
    assert (seen.used[-1], seen.limit) == (800, 1_500)
    shown = overview(facts.snapshot(made.recording()))
    assert (shown.memory_used, shown.memory_limit) == (800, 1_500)


def test_what_was_wrong_with_the_nodes_is_said() -> None:
    made = Made(nodes=2)
    made.nodes[0] = replace(made.nodes[0], errors=2, last_error="it broke")
    made.nodes[1] = replace(made.nodes[1], skew=-4.2)
    errors, clock = overview(facts.snapshot(made.recording())).warnings
    assert errors == "n000: 2 errors inside rayhpc, the last: it broke"
    assert clock.startswith("n001: its clock is -4.2 s off")


def test_the_critical_path_follows_the_last_argument() -> None:
    made = Made(nodes=1, cpus=4)
    short = made.run("short", 0.0, 1.0, slot=0)
    slow = made.run("slow", 0.1, 4.0, slot=1)
    middle = made.run("middle", 4.2, 1.0, slot=2, sources=[short, slow])
    made.run("final", 5.5, 2.0, slot=3, sources=[middle])
    made.run("other", 5.0, 1.0, slot=0)
    path = critical_path(facts.snapshot(made.recording()))
    assert path is not None
    steps = [(x.function, x.waited_for) for x in path.steps]
    assert steps == [("slow", DRIVER), ("middle", ARGUMENT), ("final", ARGUMENT)]
    assert path.running == pytest.approx(7.0)
    assert path.between == pytest.approx(0.4, abs=1e-3)
    assert path.before == pytest.approx(0.1, abs=1e-3)


def test_the_critical_path_follows_the_worker_where_room_was_waited_for() -> None:
    made = Made(nodes=1, cpus=1)
    for i in range(4):
        made.run("f", i * 1.001, 1.0)
    path = critical_path(facts.snapshot(made.recording()))
    assert path is not None
    assert [x.waited_for for x in path.steps] == [DRIVER, ROOM, ROOM, ROOM]
    assert path.functions[0].runs == 4
    assert critical_path(facts.snapshot(Made().recording())) is None


def test_the_critical_path_follows_what_the_driver_waited_for() -> None:
    made = Made(nodes=2, cpus=2)
    made.run("first", 0.0, 1.0)
    made.run("slowest", 0.0, 3.0, node=1)
    made.run("second", 3.2, 1.0)
    path = critical_path(facts.snapshot(made.recording()))
    assert path is not None
    steps = [(x.function, x.waited_for) for x in path.steps]
    assert steps == [("slowest", DRIVER), ("second", DRIVER)]
    assert path.between == pytest.approx(0.2, abs=1e-3)
    assert path.before == pytest.approx(0.0, abs=1e-3)


def test_failures_are_grouped_with_one_traceback_of_each() -> None:
    made = Made(nodes=2)
    made.tracebacks["ValueError at a.py:1 in f"] = "Traceback: bad"
    for i in range(10):
        made.run("f", float(i), 0.5, node=i % 2, error="ValueError at a.py:1 in f" if i < 7 else "")
    made.run("g", 0.0, 0.1, slot=1, error="KeyError")
    rows = failures(facts.snapshot(made.recording()))
    assert [(x.kind, x.count) for x in rows] == [("ValueError at a.py:1 in f", 7), ("KeyError", 1)]
    assert rows[0].traceback == "Traceback: bad"
    assert rows[0].nodes == ["n000", "n001"]


def test_what_was_lost_is_told_with_what_was_made_again() -> None:
    made = Made(nodes=2)
    made.nodes[1] = replace(made.nodes[1], alive=False, ended="nothing was heard of it for 5 s")
    number = made.run("f", 0.0, 1.0, node=1)
    made.run("f", 3.0, 2.0, number=number)
    made.run("f", 6.0, 0.5, attempt=1)
    for kind in ("SYSTEM_ERROR", "SYSTEM_ERROR", "INTENDED_SYSTEM_EXIT"):
        made.ended.append(
            WorkerRow(1 << 32 | 9, 5, "worker", "dead", exit_type=kind, exit_detail="SIGSEGV")
        )
    seen = losses(facts.snapshot(made.recording()))
    assert [x.node for x in seen.nodes] == ["n001"]
    assert [(x.node, x.reason, x.count) for x in seen.workers] == [("n000", "SIGSEGV", 2)]
    (row,) = seen.remade
    assert (row.retried, row.made_again, row.seconds) == (1, 1, pytest.approx(2.5))


def test_an_actor_is_as_busy_as_its_calls_are_long() -> None:
    made = Made()
    actor = b"a" * 16
    for i in range(5):
        made.run("A.work", 2.0 * i, 1.0, actor=actor)
    known = ActorFacts(actor, "A", "", "DEAD", made.nodes[0].info.node_id, 7, 2, "", BEGIN, 0.0)
    made.actors.append(replace(known, ended=BEGIN + 10))
    (row,) = actors(facts.snapshot(made.recording())).rows
    assert (row.calls, row.restarts, row.node) == (5, 1, "n000")
    assert row.busy == pytest.approx(0.5)


def test_stores_are_shown_over_time_and_by_node() -> None:
    made = Made(nodes=2)
    made.run("f", 0.0, 10.0)
    for node in (1, 2):
        samples = [
            NodeSample(BEGIN + i, 0, 0, i * 100, i * 10 * (node - 1), 0, Moved(i, i * 7, 0, i * 10))
            for i in range(11)
        ]
        made.history.append(NodeHistory(node, 1.0, samples))
    seen = stores(facts.snapshot(made.recording()))
    assert (seen.used[-1], seen.on_disk[-1]) == (2_000, 100)
    assert [(x.used_most, x.pulled_bytes) for x in seen.nodes] == [(1_000, 70)] * 2
