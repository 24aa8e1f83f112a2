"""Results leave in batches, and stay in the journal until they have surely gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rayhpc.runtime.worker.outbox import REPLY_WITHIN_S, SENT_SURELY_S, Outbox
from rayhpc.wire.messages import tasks

THERE = 1 << 32 | 1


class Journal:
    """A slot's journal with room for `room` results."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.kept: list[bytes] = []

    def journal_append(self, result: bytes) -> bool:
        if len(self.kept) >= self.room:
            return False
        self.kept.append(msgspec.msgpack.decode(result, type=tasks.Result).tid)
        return True

    def journal_clear(self) -> None:
        self.kept.clear()


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def result(number: int) -> tasks.Result:
    return tasks.Result(bytes([number]), tasks.OK, [b"v"])


def box(journal: Journal, sent: list[Any], clock: Clock) -> Outbox:
    return Outbox(journal, lambda to, message: sent.append((to, message)), clock)


def test_a_batch_for_each_submitter(clock: Clock) -> None:
    sent: list[Any] = []
    out = box(Journal(), sent, clock)
    for number, to in ((1, 7), (2, 8), (3, 7)):
        assert out.add(to, result(number))
    assert out
    out.send()
    assert not out
    assert {to: [r.tid for r in m.results] for to, m in sent} == {7: [b"\1", b"\3"], 8: [b"\2"]}


def test_what_was_sent_stays_in_the_journal_for_a_while(clock: Clock) -> None:
    journal = Journal()
    out = box(journal, [], clock)
    out.add(THERE, result(1))
    out.send()
    clock.now += SENT_SURELY_S / 2
    out.add(THERE, result(2))
    assert journal.kept == [b"\1", b"\2"]
    out.send()
    clock.now += SENT_SURELY_S * 2
    out.add(THERE, result(3))
    assert journal.kept == [b"\3"]


def test_a_full_journal_makes_room_of_what_was_sent_and_of_nothing_else(clock: Clock) -> None:
    journal = Journal(room=2)
    out = box(journal, [], clock)
    assert out.add(THERE, result(1))
    assert out.add(THERE, result(2))
    assert not out.add(THERE, result(3)), "the caller must send at once"
    assert journal.kept == [b"\1", b"\2"]
    out.send()
    assert out.add(THERE, result(4))
    assert journal.kept == [b"\4"]


def test_the_oldest_result_decides_when_it_is_time(clock: Clock) -> None:
    out = box(Journal(), [], clock)
    out.add(THERE, result(1))
    assert not out.is_old()
    clock.now += REPLY_WITHIN_S * 2
    out.add(THERE, result(2))
    assert out.is_old()


def test_what_waits_for_room_has_not_gone(clock: Clock) -> None:
    journal = Journal()
    out = box(journal, [], clock)
    out.add(THERE, result(1))
    out.send()
    out.note_full_windows(500)
    clock.now += 10
    out.add(THERE, result(2))
    out.send()
    assert len(journal.kept) == 2
    clock.now += 10
    out.note_full_windows(0)  # has gone in this moment
    out.add(THERE, result(3))
    out.send()
    assert len(journal.kept) == 3
    out.note_full_windows(0)
    clock.now += SENT_SURELY_S * 2
    out.add(THERE, result(4))
    assert len(journal.kept) == 1
