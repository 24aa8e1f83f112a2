"""Who waits for an object: what was submitted goes out first, and what is waited for stays."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from typing import Any

from rayhpc.runtime.owner.entries import INLINE, Entry
from rayhpc.runtime.process.objects import Objects
from rayhpc.runtime.values.references import ObjectRef
from tests.runtime.owner.test_ownership import THEIRS, Table

OID = bytes(28)


class Part:
    """A submitter, or the callers of actors, or the reference table."""

    def __init__(self) -> None:
        self.inbox: deque[str] = deque()
        self.table: dict[bytes, Entry] = {OID: Entry()}
        self.events: deque[bytes] = deque()


class Core:
    """What becomes of a submitted task here: it is sent, and answered at once."""

    ended = None

    def __init__(self) -> None:
        self.ownership, self.submitter, self.callers = Part(), Part(), Part()
        self.new_id = bytes
        self.sent: list[str] = []

    def advance(self) -> None:
        for part in (self.submitter, self.callers):
            self.sent += part.inbox
            part.inbox.clear()

    def look_for(self, _: ObjectRef[Any]) -> None:
        pass


class Loop:
    lead = nullcontext


def test_what_was_submitted_goes_out_before_one_awaits_it() -> None:
    core = Core()
    objects: Any = Objects(core, Loop())  # type: ignore[arg-type]
    ref: ObjectRef[Any] = ObjectRef(OID, True)
    called: list[str] = []
    core.submitter.inbox.append("task")
    objects.when_ready(ref, lambda: called.append("there"))
    assert core.sent == ["task"]
    core.callers.inbox.append("call")
    core.ownership.table[OID].state = INLINE
    objects.when_ready(ref, lambda: called.append("there"))
    assert core.sent == ["task", "call"]
    assert called == ["there"]


def test_what_is_dropped_and_taken_again_is_waited_for_in_its_new_entry() -> None:
    """An awaited value of another's: the last call's reference goes, the next call has one."""
    core = Core()
    table: Any = Table()
    core.ownership = table
    table.events.append((THEIRS, None, False, 0))
    table.settle()
    stale = table.table[THEIRS]
    objects: Any = Objects(core, Loop())  # type: ignore[arg-type]
    called: list[str] = []
    table.events += [THEIRS, (THEIRS, None, False, 0)]
    ref: ObjectRef[Any] = ObjectRef(THEIRS, True)
    objects.when_ready(ref, lambda: called.append("there"))
    table.settle()
    assert table.table[THEIRS] is not stale
    table.resolve(THEIRS, INLINE, b"value")
    assert called == ["there"]
