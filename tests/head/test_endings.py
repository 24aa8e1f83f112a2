"""When nothing of a dead node can still run."""

from __future__ import annotations

import math

from rayhpc.head.endings import BREAK_S, FRESH_S, SURELY_S, Endings
from rayhpc.head.membership import SILENT_S
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def ends_after(endings: Endings, clock: Clock) -> float:
    """How long it takes from now."""
    wait = endings.deadline() - clock.time
    clock.time += wait - 0.001
    assert endings.over() == []
    clock.time += 0.001
    assert endings.over() == [1]
    assert endings.deadline() == math.inf
    return wait


def test_a_silent_node_ends_by_itself_before_that() -> None:
    clock = Clock()
    endings = Endings(clock)
    endings.dead(1, clock.time - SILENT_S, broken=False, orderly=False)
    assert ends_after(endings, clock) == SURELY_S - SILENT_S
    assert SURELY_S > HEAD_PATIENCE_S


def test_one_whose_connection_broke_while_it_was_heard_has_ended() -> None:
    clock = Clock()
    endings = Endings(clock)
    endings.dead(1, clock.time - 1.0, broken=True, orderly=False)
    assert ends_after(endings, clock) == BREAK_S
    endings.dead(1, clock.time - 1.0, broken=True, orderly=True)
    assert endings.over() == [1]


def test_one_whose_connection_was_given_up_in_silence_may_be_cut_off() -> None:
    clock = Clock()
    endings = Endings(clock)
    endings.dead(1, clock.time - FRESH_S, broken=True, orderly=True)
    assert ends_after(endings, clock) == SURELY_S - FRESH_S


def test_one_that_speaks_again_is_alive_until_it_hangs_up() -> None:
    clock = Clock()
    endings = Endings(clock)
    endings.dead(1, clock.time, broken=True, orderly=False)
    clock.time += BREAK_S / 2
    endings.heard(1)
    assert endings.deadline() == clock.time + SURELY_S - BREAK_S / 2
    endings.disconnected(1)
    assert ends_after(endings, clock) == BREAK_S
