"""How long a raylet goes on without the head, and what it says when it ends."""

from __future__ import annotations

from rayhpc.raylet.head_contact import AWAY_S, READ_FIRST_S, HeadContact
from rayhpc.wire.messages.cluster import HEAD_PATIENCE_S


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def turn(self, contact: HeadContact, seconds: float) -> str:
        """Let time pass in turns of the loop; the verdict at its end."""
        verdict = ""
        for _ in range(int(seconds * 10)):
            self.time += 0.1
            verdict = verdict or contact.verdict()
            contact.turned()
        return verdict


def test_a_head_that_is_heard_in_time_is_no_reason_to_end() -> None:
    clock = Clock()
    contact = HeadContact(clock)
    contact.lost("the connection broke")
    assert clock.turn(contact, HEAD_PATIENCE_S - 0.5) == ""
    contact.heard(clock.time)
    assert clock.turn(contact, HEAD_PATIENCE_S - 0.5) == ""
    assert "nothing was heard" in clock.turn(contact, 1.0)


def test_an_answer_counts_from_when_it_was_asked_for() -> None:
    clock = Clock()
    contact = HeadContact(clock)
    asked = clock.time
    assert clock.turn(contact, HEAD_PATIENCE_S - 0.5) == ""
    contact.heard(asked)
    contact.heard(asked - 1.0)
    assert "nothing was heard" in clock.turn(contact, 1.0)


def test_the_reason_is_why_it_was_lost_first_or_why_nobody_starts_it_again() -> None:
    clock = Clock()
    contact = HeadContact(clock)
    contact.lost("the connection broke")
    contact.lost("nothing listens there")
    assert clock.turn(contact, HEAD_PATIENCE_S + 0.5).endswith("the connection broke")
    contact.given_up("its database is damaged")
    assert contact.verdict().endswith("its database is damaged")


def test_a_raylet_that_was_suspended_first_reads() -> None:
    clock = Clock()
    contact = HeadContact(clock)
    clock.time += HEAD_PATIENCE_S + AWAY_S
    assert contact.verdict() == ""
    contact.turned()
    assert clock.turn(contact, READ_FIRST_S + 0.2) != ""
