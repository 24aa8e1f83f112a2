"""Failures of one kind have one name, and their traceback is told once."""

from __future__ import annotations

from rayhpc.runtime.worker import failure_notes
from rayhpc.runtime.worker.execution import ArgumentError
from rayhpc.runtime.worker.failure_notes import FailureNotes


def raised(value: int) -> ValueError:
    try:
        raise ValueError(f"bad value {value}")
    except ValueError as error:
        return error


def test_the_same_line_is_one_kind_whatever_the_message_says() -> None:
    notes = FailureNotes()
    kinds = {notes.note(raised(i)) for i in range(3)}
    (kind,) = kinds
    assert kind.startswith("ValueError at test_failure_notes.py:")
    assert kind.endswith(" in raised")
    (text,) = notes.take().values()
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: bad value 0")
    assert notes.take() == {}
    notes.note(raised(9))
    assert notes.take() == {}


def test_many_kinds_and_long_texts_are_bounded() -> None:
    notes = FailureNotes()
    for i in range(300):
        error = type(f"Error{i}", (Exception,), {})("x" * 100_000)
        assert notes.note(error) == f"Error{i}"
    texts = notes.take()
    assert len(texts) <= failure_notes._TEXTS_MOST
    assert max(map(len, texts.values())) < 5_000


def test_an_argument_that_had_failed_is_no_failure_of_its_own() -> None:
    notes = FailureNotes()
    assert "argument" in notes.note(ArgumentError(b""))
    assert notes.take() == {}
