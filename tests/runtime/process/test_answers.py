"""Answers are kept for those who wait for them, and for nobody else."""

from __future__ import annotations

from rayhpc.runtime.process.answers import Answers
from rayhpc.wire.messages.cluster import Reply


def test_an_answer_that_comes_too_late_is_dropped() -> None:
    answers = Answers()
    answers.expect(1)
    answers.expect(2)
    answers.add(Reply(1, b"one"))
    assert 1 in answers
    assert answers.take(1).data == b"one"
    assert answers.take(2) is None  # the time was over
    answers.add(Reply(2, b"late"))
    answers.add(Reply(3, b"never asked"))
    assert len(answers) == 0
