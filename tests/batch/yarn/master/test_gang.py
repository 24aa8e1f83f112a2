"""What the ApplicationMaster decides, one situation after the other, then thousands at random."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayhpc.batch.yarn.master.actions import (
    Action,
    Ask,
    Avoid,
    Cancel,
    Drain,
    Fail,
    Launch,
    Readmit,
    Release,
    Say,
)
from rayhpc.batch.yarn.master.events import (
    Allocated,
    Completed,
    Drained,
    Event,
    HeadReady,
    HostUnusable,
    HostUsable,
    Inherited,
    ProgramEnded,
    RankAdded,
    RankCancelled,
    RankRemoved,
    Resized,
    Started,
    StartFailed,
)
from rayhpc.batch.yarn.master.gang import Gang, GangOptions
from rayhpc.batch.yarn.talk import AddedRank, RankState
from tests.batch.yarn.master.simulated_manager import SimulatedManager


def gang_of(size: int, needed: int | None = None, **options: float) -> Gang:
    found = GangOptions(size, needed or size, **options)  # type: ignore[arg-type]
    return Gang(found, "am", random.Random(1))


def running(size: int, **options: float) -> Gang:
    """A gang whose ranks 1, 2, … run on h1, h2, … in c1, c2, …"""
    gang = gang_of(size, **options)
    gang.start(0.0)
    gang.handle(HeadReady(), 0.0)
    for rank in range(1, size):
        gang.handle(Allocated(f"c{rank}", f"h{rank}", 1), 0.0)
    for rank in range(1, size):
        gang.handle(Started(f"c{rank}"), 0.0)
    assert gang.ranks == {rank: f"h{rank}" for rank in range(1, size)}
    return gang


def kinds(actions: list[Action]) -> list[str]:
    return [type(each).__name__ for each in actions]


def test_a_gang_is_asked_for_at_once_and_started_when_it_is_complete() -> None:
    gang = gang_of(3)
    assert gang.start(0.0) == [Avoid("am"), Ask(1, 2)]
    assert gang.handle(Allocated("c1", "h1", 1), 1.0) == [Avoid("h1")]
    assert gang.handle(HeadReady(), 1.5) == []
    assert gang.handle(Allocated("c2", "h2", 1), 2.0) == [
        Avoid("h2"),
        Launch("c1", 1, "h1"),
        Launch("c2", 2, "h2"),
    ]
    assert gang.wake_at() is None


def test_nothing_is_started_before_the_head() -> None:
    gang = gang_of(2)
    gang.start(0.0)
    assert gang.handle(Allocated("c1", "h1", 1), 1.0) == [Avoid("h1")]
    assert gang.is_complete
    assert gang.handle(HeadReady(), 2.0) == [Launch("c1", 1, "h1")]


def test_containers_of_an_earlier_attempt_are_taken_over() -> None:
    gang = gang_of(4)
    left = [Inherited("c1", "h1"), Inherited("c2", "am"), Inherited("c3", "h3")]
    assert gang.start(0.0, left) == [
        *(Avoid("am"), Avoid("h1"), Release("c2"), Avoid("h3")),
        Ask(1, 1),
    ]
    gang.handle(HeadReady(), 1.0)
    assert gang.handle(Allocated("d1", "h2", 1), 2.0) == [
        Avoid("h2"),
        Launch("c1", 1, "h1", again=True),
        Launch("c3", 2, "h3", again=True),
        Launch("d1", 3, "h2"),
    ]
    # One that cannot be taken over has done nothing wrong, nor has its host.
    release, say, readmit, ask = gang.handle(StartFailed("c1", "not running"), 3.0)
    assert (release, readmit, ask) == (Release("c1"), Readmit("h1"), Ask(2, 1))
    assert say == Say("the container on h1 could not be taken over: not running")
    assert gang.failures == 0


def test_what_is_inherited_late_replaces_what_was_asked_for() -> None:
    gang = gang_of(3)
    gang.start(0.0)
    assert gang.handle(Inherited("c1", "h1"), 1.0) == [Avoid("h1"), Cancel(1), Ask(2, 1)]


def test_one_node_asks_for_nothing() -> None:
    assert gang_of(1).start(0.0) == [Avoid("am")]


def test_a_second_container_on_a_host_is_given_back() -> None:
    gang = gang_of(4)
    gang.start(0.0)
    gang.handle(Allocated("c1", "h1", 1), 0.0)
    assert gang.handle(Allocated("c2", "h1", 1), 0.0) == [Release("c2"), Ask(2, 1)]
    assert gang.handle(Allocated("c3", "am", 1), 0.0) == [Release("c3"), Ask(3, 1)]


def test_half_a_gang_is_given_back_and_tried_again() -> None:
    gang = gang_of(3, gather_s=60.0, back_off_s=10.0)
    gang.start(0.0)
    gang.handle(Allocated("c1", "h1", 1), 1.0)
    assert gang.wake_at() == 60.0
    assert gang.tick(59.0) == []
    cancel, release, readmit, say = gang.tick(60.0)
    assert (cancel, release, readmit) == (Cancel(1), Release("c1"), Readmit("h1"))
    assert isinstance(say, Say)
    assert say.text.startswith("2 of 3 nodes came within 60 s: given back, asked for again in ")
    due = gang.wake_at()
    assert due is not None
    assert 65.0 <= due <= 70.0
    # What comes too late for the ask that was taken back is not kept.
    assert gang.handle(Allocated("c2", "h2", 1), 61.0) == [Release("c2")]
    assert gang.tick(due) == [Ask(2, 2)]


def test_back_offs_grow_to_a_limit() -> None:
    gang, now, pauses = gang_of(2, gather_s=1.0, back_off_s=8.0), 0.0, []
    gang.start(now)
    for _ in range(8):
        due = gang.wake_at()
        assert due is not None
        gang.tick(due)
        again = gang.wake_at()
        assert again is not None
        pauses.append(again - due)
        gang.tick(again)
    assert 4.0 <= pauses[0] <= 8.0
    assert 60.0 <= pauses[-1] <= 120.0


@pytest.mark.parametrize("status", [-100, -101, -102, -106, -108, -1])
def test_what_the_cluster_does_costs_no_restart(status: int) -> None:
    gang = running(3, restarts=0)
    actions = gang.handle(Completed("c1", status), 5.0)
    assert kinds(actions) == ["Readmit", "Say", "Ask"]
    assert gang.failures == 0


@pytest.mark.parametrize("status", [1, 137, -103, -104, -105, -109])
def test_what_a_container_does_itself_costs_one(status: int) -> None:
    gang = running(3, restarts=1)
    readmit, say, ask = gang.handle(Completed("c1", status), 5.0)
    assert readmit == Readmit("h1")
    assert isinstance(say, Say)
    assert "it is replaced (0 more may fail)" in say.text
    assert ask == Ask(2, 1)
    assert kinds(gang.handle(Completed("c2", status), 6.0)) == ["Readmit", "Fail", "Cancel"]


def test_memory_is_named_with_its_numbers() -> None:
    gang = running(2)
    text = "Container is running beyond physical memory limits. Current usage: 1.2 GB of 1 GB"
    say = gang.handle(Completed("c1", -104, text + ".\nDump of the process tree"), 5.0)[1]
    assert isinstance(say, Say)
    assert say.text.startswith("rank 1 on h1 ended: killed by the NodeManager: more memory than")
    assert "(Container is running beyond physical memory limits. Current usage: 1.2 GB" in say.text
    assert "Dump" not in say.text


def test_with_enough_left_a_rank_too_many_is_not_replaced() -> None:
    gang = gang_of(3, needed=2, restarts=0)
    gang.start(0.0)
    gang.handle(HeadReady(), 0.0)
    gang.handle(Allocated("c1", "h1", 1), 0.0)
    gang.handle(Allocated("c2", "h2", 1), 0.0)
    _, say = gang.handle(Completed("c1", 1), 1.0)
    assert isinstance(say, Say)
    assert "is not replaced" in say.text
    assert gang.open_asks == 0


def test_with_fewer_than_all_it_begins_and_the_rest_follows() -> None:
    gang = gang_of(4, needed=2)
    gang.start(0.0)
    gang.handle(HeadReady(), 0.0)
    assert kinds(gang.handle(Allocated("c1", "h1", 1), 0.0)) == ["Avoid", "Launch"]
    assert gang.open_asks == 2
    assert kinds(gang.handle(Allocated("c2", "h2", 1), 500.0)) == ["Avoid", "Launch"]
    assert gang.wake_at() is None


def test_a_node_that_starts_nothing_is_avoided_for_a_while() -> None:
    gang = gang_of(2)
    gang.start(0.0)
    gang.handle(HeadReady(), 0.0)
    gang.handle(Allocated("c1", "h1", 1), 0.0)
    actions = gang.handle(StartFailed("c1", "connection refused"), 1.0)
    assert kinds(actions) == ["Release", "Say", "Ask"]
    assert gang.wake_at() == 61.0
    assert gang.tick(61.0) == [Readmit("h1")]


def test_unhealthy_nodes_are_avoided_until_they_are_well() -> None:
    gang = running(2)
    assert gang.handle(HostUnusable("h9"), 0.0) == [Avoid("h9")]
    assert gang.handle(HostUnusable("h1"), 0.0) == []
    assert kinds(gang.handle(Completed("c1", -100), 0.0)) == ["Say", "Ask"]
    assert gang.handle(HostUsable("h1"), 0.0) == [Readmit("h1")]


def test_shrinking_drains_the_highest_ranks_before_it_releases() -> None:
    gang = running(4)
    assert gang.handle(Resized(2), 1.0) == [Drain(3), Drain(2)]
    assert gang.handle(Resized(2), 1.5) == []
    assert gang.handle(Drained(3), 2.0) == [Release("c3"), Readmit("h3")]
    assert gang.ranks == {1: "h1", 2: "h2"}
    # Its process may end by itself before.
    assert gang.handle(Completed("c2", 0), 2.5) == [Readmit("h2")]
    assert gang.ranks == {1: "h1"}


def test_growing_asks_for_the_difference() -> None:
    gang = running(2)
    assert gang.handle(Resized(4), 1.0) == [Ask(2, 2)]
    assert gang.handle(Resized(3), 1.5) == [Cancel(2), Ask(3, 1)]
    assert kinds(gang.handle(Allocated("c2", "h2", 2), 2.0)) == ["Avoid", "Launch", "Cancel"]
    assert gang.ranks == {1: "h1", 2: "h2"}


def test_ranks_are_added_and_end_by_their_numbers() -> None:
    gang = running(2)
    assert gang.handle(RankAdded(2), 1.0) == [Ask(2, 1)]
    assert gang.handle(RankAdded(2), 1.1) == []
    assert gang.handle(RankAdded(3), 1.2) == [Ask(3, 1)]
    assert gang.added == [AddedRank(2, RankState.PENDING), AddedRank(3, RankState.PENDING)]
    gang.handle(Allocated("c2", "h2", 2), 2.0)
    gang.handle(Allocated("c3", "h3", 3), 2.0)
    assert gang.ranks == {1: "h1", 2: "h2", 3: "h3"}
    # Not the highest leaves, but the one that is named, and drained before.
    assert gang.handle(RankRemoved(2), 3.0) == [Drain(2)]
    assert gang.handle(RankRemoved(2), 3.1) == []
    assert gang.added[0] == AddedRank(2, RankState.RUNNING, "h2")
    assert gang.handle(Drained(2), 4.0) == [Release("c2"), Readmit("h2")]
    assert gang.added == [
        AddedRank(2, RankState.ENDED, reason="it was given back"),
        AddedRank(3, RankState.RUNNING, "h3"),
    ]
    # Nor does it come back because its ask was late.
    assert gang.handle(RankAdded(2), 5.0) == []
    assert gang.missing == 0


def test_a_rank_may_be_added_while_another_drains() -> None:
    gang = running(1)
    gang.handle(RankAdded(1), 1.0)
    gang.handle(Allocated("c1", "h1", 1), 1.0)
    gang.handle(RankRemoved(1), 2.0)
    assert gang.handle(RankAdded(2), 2.0) == [Ask(2, 1)]
    assert kinds(gang.handle(Allocated("c2", "h2", 2), 2.5)) == ["Avoid", "Launch"]


@pytest.mark.parametrize("event", [RankRemoved(1), RankCancelled(1)])
def test_an_added_rank_without_a_container_is_withdrawn(event: Event) -> None:
    gang = running(1)
    gang.handle(RankAdded(1), 1.0)
    assert gang.handle(event, 2.0) == [Cancel(1)]
    assert gang.handle(Allocated("c1", "h1", 1), 2.5) == [Release("c1")]
    assert gang.added[0].state is RankState.ENDED


def test_an_added_rank_that_has_a_container_is_not_cancelled() -> None:
    gang = running(1)
    gang.handle(RankAdded(1), 1.0)
    gang.handle(Allocated("c1", "h1", 1), 1.0)
    assert gang.handle(RankCancelled(1), 2.0) == []
    assert gang.ranks == {1: "h1"}


@pytest.mark.parametrize("status", [137, -100, -104])
def test_an_added_rank_that_ends_is_not_replaced_and_costs_nothing(status: int) -> None:
    gang = running(2, restarts=0)
    gang.handle(RankAdded(2), 1.0)
    gang.handle(Allocated("c2", "h2", 2), 1.0)
    assert kinds(gang.handle(Completed("c2", status), 2.0)) == ["Readmit", "Say"]
    assert (gang.failures, gang.open_asks, gang.missing) == (0, 0, 0)
    (row,) = gang.added
    assert row.state is RankState.ENDED
    assert row.reason.startswith("rank 2 on h2 ended: ")


def test_an_added_rank_that_cannot_be_started_is_over() -> None:
    gang = running(1)
    gang.handle(RankAdded(1), 1.0)
    gang.handle(Allocated("c1", "h1", 1), 1.0)
    assert kinds(gang.handle(StartFailed("c1", "no route"), 2.0)) == ["Release", "Say"]
    assert gang.added[0].reason == "rank 1 on h1 could not be started: no route"


def test_ranks_are_added_although_too_many_of_the_first_have_failed() -> None:
    gang = running(3, needed=1, restarts=0)
    gang.handle(Completed("c1", 1), 1.0)
    assert gang.handle(RankAdded(3), 2.0) == [Ask(2, 1)]
    assert gang.handle(Allocated("c9", "h9", 2), 3.0)[1:] == [Launch("c9", 3, "h9")]
    assert gang.open_asks == 0


def test_at_the_end_nothing_is_asked_for_or_replaced() -> None:
    gang = running(3)
    gang.handle(Resized(5), 1.0)
    assert gang.handle(ProgramEnded(0), 2.0) == [Cancel(2)]
    assert gang.handle(Completed("c1", 0), 2.1) == [Readmit("h1")]
    assert gang.handle(Allocated("c9", "h9", 2), 2.2) == [Release("c9")]
    assert gang.wake_at() is None


def test_too_few_before_the_start_is_a_failure() -> None:
    gang = running(2, restarts=0)
    actions = gang.handle(Completed("c1", 78), 5.0)
    assert isinstance(actions[1], Fail)
    assert "too many ranks have failed" in actions[1].reason
    assert "exit code 78: an option or an environment variable is wrong" in actions[1].reason


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 6), st.integers(0, 3), st.booleans())
def test_whatever_happens_it_comes_right_in_the_end(
    seed: int, size: int, spare: int, slow: bool
) -> None:
    rng = random.Random(seed)
    gang = Gang(GangOptions(size, rng.randint(1, size), restarts=10**6), "am", rng)
    hosts = ["am", *(f"h{number}" for number in range(size - 1 + spare))]
    manager = SimulatedManager(gang, hosts, rng)
    manager.begin(inherited=rng.randint(0, size + 1))
    for _ in range(rng.randint(0, 20)):
        manager.step(slow=slow)
    manager.tell(HeadReady())
    for _ in range(rng.randint(0, 80)):
        manager.step(losses=True, slow=slow)
        if rng.random() < 0.05:
            manager.tell(Resized(rng.randint(1, size)))
    for host in sorted(manager.lost):
        manager.bring_back(host)
    manager.tell(Resized(size))
    manager.settle()
    assert sorted(gang.ranks) == sorted(manager.launched.values())
    assert len(gang.ranks) == size - 1, manager.said
    assert not manager.asks
    assert manager.failed == ""
    assert manager.containers.keys() == manager.launched.keys()
    manager.tell(ProgramEnded(0))
    manager.settle(20)
    assert not manager.asks


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 3))
def test_added_ranks_run_if_they_are_wanted_whatever_happens(seed: int, size: int) -> None:
    rng = random.Random(seed)
    gang = Gang(GangOptions(size, size, restarts=10**6), "am", rng)
    manager = SimulatedManager(gang, ["am", *(f"h{number}" for number in range(8))], rng)
    manager.begin()
    manager.tell(HeadReady())
    last = size - 1
    for _ in range(rng.randint(0, 80)):
        manager.step(losses=True)
        if rng.random() < 0.2 and len(gang._added.wanted) < 4:
            last += 1
            manager.tell(RankAdded(last))
        if rng.random() < 0.1 and last >= size:
            rank = rng.randint(size, last)
            manager.tell(RankRemoved(rank) if rng.random() < 0.5 else RankCancelled(rank))
    for host in sorted(manager.lost):
        manager.bring_back(host)
    manager.settle()
    running = {each.rank for each in gang.added if each.state is RankState.RUNNING}
    assert gang.missing == 0
    assert set(gang.ranks) == set(range(1, size)) | running
    assert manager.containers.keys() == manager.launched.keys()
    for rank in running:
        manager.tell(RankRemoved(rank))
    manager.settle(20)
    assert set(gang.ranks) == set(range(1, size))
    assert not manager.asks
    assert manager.failed == ""
