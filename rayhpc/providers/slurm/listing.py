"""Job arrays as squeue shows them.

Used by `provider`.  Asks nothing.
"""

from __future__ import annotations

import re

from rayhpc.batch.job_status import State
from rayhpc.batch.slurm.words import end_in_words, is_hopeless, reason_in_words, state_of
from rayhpc.elastic.types import MachineState
from rayhpc.providers.arrays import Shown, Task, numbers_in

#: What squeue prints of each line, and what our jobs say about themselves there (`--comment`).
FORMAT = "%i|%T|%r|%N|%j|%k"
_COMMENT = re.compile(r"rayhpc base=(\d+) size=(\d+)")
_ID = re.compile(r"(\d+)_(?:(\d+)|\[([\d,-]+)(?:%(\d+))?\])")


def comment(base: int, size: int) -> str:
    """What a job of ours says about itself."""
    return f"rayhpc base={base} size={size}"


def read(text: str) -> dict[str, Shown]:
    """The arrays of ours in what squeue prints, by job id."""
    found: dict[str, Shown] = {}
    for line in text.splitlines():
        parts = line.split("|")
        identity, told = _ID.fullmatch(parts[0].strip()), _COMMENT.search(parts[-1])
        if len(parts) != 6 or identity is None or told is None:
            continue
        job, one, several, throttle = identity.groups()
        shown = found.setdefault(job, Shown(parts[4], int(told[1]), int(told[2])))
        task = task_of(parts[1], parts[2], parts[3])
        indexes = [int(one)] if one else list(numbers_in(several))
        shown.tasks.update(dict.fromkeys(indexes, task))
        if throttle:
            shown.throttle = int(throttle)
        elif several:
            shown.throttle = shown.size
    return found


def task_of(word: str, reason: str = "", node: str = "") -> Task:
    """A task from SLURM's word for its state, why it waits, and the node it is on."""
    if word in ("PENDING", "CONFIGURING", "REQUEUED"):
        if reason in ("None", "", "JobArrayTaskLimit"):
            return Task(MachineState.PENDING)
        said = f"{reason}: {reason_in_words(reason)}"
        return Task(MachineState.PENDING, "", said, is_hopeless(reason))
    if word == "COMPLETING" or state_of(word) not in (State.PENDING, State.RUNNING):
        return Task(MachineState.ENDED, reason=f"its job: {end_in_words(word) or word.lower()}")
    return Task(MachineState.RUNNING, node)
