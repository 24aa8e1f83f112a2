"""The errors of tasks and calls that nobody has looked at: reported once their references go.

Used by `ownership` and `results`, which say what fails and what is freed, and by whatever hands an
error to the user (`get`, `wait`, futures, dependants), in any thread.  Never unpickles an error:
that runs the user's code, which is not for the leading thread.  A state machine.
"""

from __future__ import annotations

from collections.abc import Callable

from rayhpc.wire.address import ObjectId, task_id_of


class UnreadErrors:
    """The pickled errors of failed tasks, by task, until somebody looks at one of its results.

    Attributes:
        report: called, in the leading thread, with the task's name and its error when a result is
            freed that nobody has looked at; None: nobody wants to know.
    """

    def __init__(self) -> None:
        self.report: Callable[[str, bytes], object] | None = None
        self._found: dict[bytes, tuple[str, bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def note(self, oid: ObjectId, name: str, error: bytes) -> None:
        """The task of this result has failed."""
        self._found[task_id_of(oid)] = name, error

    def read(self, oid: ObjectId) -> None:
        """Somebody has been told of this result's error (any thread)."""
        if self._found:
            self._found.pop(task_id_of(oid), None)

    def freed(self, oid: ObjectId) -> None:
        """Nobody can look at this result any more."""
        found = self._found.pop(task_id_of(oid), None)
        if found is not None and self.report is not None:
            self.report(*found)
