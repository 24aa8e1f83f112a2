"""Whether a head that has ended is started again."""

from __future__ import annotations

import math
import signal

import pytest

from rayhpc.launch.head_keeping import MOST, PAUSE_S, WITHIN_S, HeadKeeping

KILLED = int(signal.SIGKILL)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def again(keeping: HeadKeeping, clock: Clock) -> bool:
    """Whether it is started again, when its time has come."""
    if keeping.start_at == math.inf:
        return False
    clock.time = keeping.start_at
    keeping.started()
    return True


def test_a_killed_head_is_started_at_once_then_later_then_not() -> None:
    clock = Clock()
    keeping = HeadKeeping(clock)
    pauses = []
    for _ in range(MOST):
        keeping.ended(KILLED)
        pauses.append(round(keeping.start_at - clock.time, 3))
        assert again(keeping, clock)
    assert pauses == [0.0, PAUSE_S, pytest.approx(3 * PAUSE_S)]
    keeping.ended(KILLED)
    assert keeping.given_up
    assert not again(keeping, clock)
    assert "SIGKILL" in keeping.why
    assert f"{MOST + 1}th time" in keeping.why
    keeping.asked()
    assert again(keeping, clock)
    assert not keeping.given_up


def test_deaths_of_long_ago_do_not_count() -> None:
    clock = Clock()
    keeping = HeadKeeping(clock)
    for _ in range(3 * MOST):
        keeping.ended(KILLED)
        assert again(keeping, clock)
        clock.time += WITHIN_S / MOST + 1


def test_one_that_has_ended_in_order_or_cannot_be_resumed_stays_so() -> None:
    for code, said in ((0, ""), (71, "There is no database")):
        keeping = HeadKeeping(Clock())
        keeping.ended(code << 8, said)
        assert keeping.given_up
        assert keeping.start_at == math.inf
        assert said in keeping.why


def test_one_that_found_its_port_taken_is_tried_again() -> None:
    keeping = HeadKeeping(Clock())
    keeping.ended(78 << 8, "The head cannot listen")
    assert not keeping.given_up
    assert keeping.why == "The head cannot listen"
