"""What is decided about each operation of a group, whatever the order in which members come."""

from __future__ import annotations

import itertools
import random

import pytest

from rayhpc.util.collective.meetings import Meetings

RANKS = (0, 1, 2)


def group() -> Meetings:
    made = Meetings("of a test", 3)
    for rank in RANKS:
        assert made.join(rank, f"member {rank}", 3) == ""
    return made


@pytest.mark.parametrize("order", list(itertools.permutations(RANKS)))
def test_it_ends_with_the_last_who_comes_and_goes_with_the_last_who_asks(
    order: tuple[int, ...],
) -> None:
    meetings = group()
    decided = [meetings.arrive("key", rank, RANKS, "sum", 10 * rank) for rank in order]
    assert decided == [False, False, True]
    for rank in order:
        assert meetings.has("key")
        assert meetings.outcome("key", rank) == ("", {0: 0, 1: 10, 2: 20})
    assert not meetings.has("key")


def test_who_has_come_before_its_end_is_not_missed() -> None:
    meetings = group()
    meetings.arrive("key", 2, RANKS, "sum", 2)
    assert meetings.leave(2, "has ended") == []
    assert not meetings.arrive("key", 0, RANKS, "sum", 0)
    assert meetings.arrive("key", 1, RANKS, "sum", 1)
    assert meetings.outcome("key", 0)[0] == ""
    assert meetings.outcome("key", 1) == ("", {0: 0, 1: 1, 2: 2})
    assert not meetings.has("key")


def test_who_is_missed_is_named_to_all_and_to_those_who_come_later() -> None:
    meetings = group()
    meetings.arrive("now", 0, RANKS, "sum", 0)
    meetings.arrive("other", 0, (0, 1), "send", 0)
    assert meetings.leave(2, "has ended") == ["now"]
    assert meetings.outcome("now", 0) == ("rank 2 has ended", {})
    assert meetings.arrive("now", 1, RANKS, "sum", 1)
    assert meetings.outcome("now", 1)[0] == "rank 2 has ended"
    assert not meetings.has("now")
    # Those two do not need it.
    assert meetings.arrive("other", 1, (0, 1), "send", 1)
    assert meetings.is_closing()
    assert not meetings.is_empty()


def test_a_last_step_forgives_those_who_have_ended() -> None:
    meetings = group()
    assert not meetings.arrive("end", 0, RANKS, "sum", None, forgives=True)
    assert meetings.leave(2, "has ended") == []
    assert meetings.arrive("end", 1, RANKS, "sum", None, forgives=True)
    assert meetings.outcome("end", 0)[0] == meetings.outcome("end", 1)[0] == ""
    assert not meetings.has("end")


def test_different_calls_are_an_error_for_all() -> None:
    meetings = group()
    meetings.arrive("key", 1, RANKS, ("barrier",), None)
    assert meetings.arrive("key", 0, RANKS, ("allreduce", 3), None)
    text = meetings.outcome("key", 1)[0]
    assert "rank 0 calls ('allreduce', 3), but rank 1 ('barrier',)" in text
    assert meetings.outcome("key", 0)[0] == text


def test_time_that_is_over_names_who_is_late() -> None:
    meetings = Meetings("of a test", 3)
    meetings.join(0, "a", 3)
    meetings.join(1, "b", 3)
    meetings.arrive("key", 0, RANKS, "sum", 0)
    meetings.give_up("key", 2.5)
    text = meetings.outcome("key", 0)[0]
    assert text == (
        "ranks [1, 2] have not arrived within 2.5 s (ranks [2] have never joined the group)"
    )
    meetings.give_up("unknown", 1)


def test_who_may_join() -> None:
    meetings = Meetings("of a test", 2)
    assert meetings.join(0, "a", 2) == ""
    assert "taken" in meetings.join(0, "b", 2)
    assert "world_size=3" in meetings.join(1, "b", 3)
    assert "not below" in meetings.join(2, "b", 2)
    meetings.leave(0, "has left")
    assert meetings.is_empty()


def test_no_order_of_events_leaves_anybody_waiting() -> None:
    """Whoever comes is told something by the time that all others have come or gone."""
    for seed in range(300):
        dice = random.Random(seed)
        meetings = group()
        forgives = dice.random() < 0.5
        waiting: set[int] = set()
        events = [(x, "come") for x in RANKS] + [(x, "gone") for x in RANKS if dice.random() < 0.5]
        dice.shuffle(events)
        gone: set[int] = set()
        for rank, what in events:
            if what == "gone":
                gone.add(rank)
                decided = "key" in meetings.leave(rank, "has ended")
            elif rank not in gone:
                decided = meetings.arrive("key", rank, RANKS, "sum", rank, forgives)
                waiting.add(rank)
            else:
                continue
            if decided:
                for each in sorted(waiting):
                    error, found = meetings.outcome("key", each)
                    assert error or set(found) >= waiting - gone
                waiting.clear()
        assert waiting <= gone, seed
