"""Names and groups failed runs by what was raised and where, with one traceback of each kind.

Used by `task_log`.  A name is short and the same for all failures of one kind, so that many
failures cost no more than successful runs; the text of a traceback is sent once.
"""

from __future__ import annotations

import os

from rayhpc.runtime.values.errors import format_remote
from rayhpc.runtime.worker.execution import ArgumentError, PartlyFailedError

# For a call by which the process exited.
LEFT = "its process left"
_OF_AN_ARGUMENT = "an argument of it had failed"
# Further kinds in one process are named, but without a text.
_TEXTS_MOST = 100
_TEXT_MOST = 4_000


class FailureNotes:
    """The kinds of failure that one process has seen."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._new: dict[str, str] = {}

    def note(self, error: BaseException) -> str:
        """Name the kind of a failure, and keep its traceback if it is the first of its kind."""
        if isinstance(error, ArgumentError):
            return _OF_AN_ARGUMENT
        if isinstance(error, PartlyFailedError):
            error = error.error
        kind = f"{type(error).__name__}{_place(error)}"
        if kind not in self._known and len(self._known) < _TEXTS_MOST:
            self._known.add(kind)
            self._new[kind] = _shortened(format_remote(error))
        return kind

    def take(self) -> dict[str, str]:
        """The texts of the kinds that are new since the last call."""
        if not self._new:
            return {}
        new, self._new = self._new, {}
        return new


def _place(error: BaseException) -> str:
    """The innermost line of the traceback, as ` at train.py:12 in step`."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"


def _shortened(text: str) -> str:
    if len(text) <= _TEXT_MOST:
        return text
    return f"{text[: _TEXT_MOST // 4]}\n[…]\n{text[-_TEXT_MOST * 3 // 4 :]}"
