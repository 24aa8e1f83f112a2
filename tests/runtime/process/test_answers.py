"""Answers are kept for those who wait for them, and for nobody else."""

from __future__ import annotations

from rayhpc.runtime.process.answers import ENDED, Answers
from rayhpc.wire.messages.cluster import Reply


def test_an_answer_that_comes_too_late_is_dropped() -> None:
    answers = Answers()
    answers.expect(1, 10)
    answers.expect(2, 10)
    answers.add(Reply(1, b"one"))
    assert 1 in answers
    assert answers.take(1).data == b"one"
    assert answers.take(2) is None  # the time was over
    answers.add(Reply(2, b"late"))
    answers.add(Reply(3, b"never asked"))
    assert len(answers) == 0


def test_who_has_ended_is_not_waited_for() -> None:
    answers = Answers()
    for token, address in ((1, 10), (2, 10), (3, 20)):
        answers.expect(token, address)
    answers.add(Reply(1, b"one"))
    answers.on_peers_gone(lambda address: address == 10)
    assert answers.take(1).data == b"one"  # its last word
    assert answers.take(2) is ENDED
    assert 3 not in answers
    assert answers.take(3) is None
    assert len(answers) == 0
